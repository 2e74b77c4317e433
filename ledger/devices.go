package ledger

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// activeNow is the condition that a purchase p is active at the time $2.
const activeNow = `p.status = 'active' AND (p.ends_at IS NULL OR p.ends_at > CAST($2 AS BIGINT))`

// AddDevice adds a device to a purchase, if it is not in use already. It returns ErrNotFound, ErrInactive, or ErrNoneLeft
// if all devices are in use. A device limit of 0 means no limit.
func (l *Ledger) AddDevice(ctx context.Context, purchaseID string, d Device) error {
	if d.ID == "" {
		return errors.New("a device needs an id")
	}
	known, err := l.Holding(ctx, purchaseID) // whoever comes again writes nothing
	if err = cmp.Or(err, l.inactive(known.Purchase)); err != nil || slices.Contains(known.DeviceIDs, d.ID) {
		return err
	}
	return change(ctx, l, func(t *tx) error { return l.addDevice(t, purchaseID, d) })
}

// inactive is the error of a purchase that cannot be used, or that there is none.
func (l *Ledger) inactive(p Purchase) error {
	switch {
	case p.ID == "":
		return ErrNotFound
	case p.StatusAt(l.options.Now()) != Active:
		return ErrInactive
	}
	return nil
}

func (l *Ledger) addDevice(t *tx, purchaseID string, d Device) error {
	added := t.exec(`
		INSERT INTO devices (purchase_id, device_id, label, added_at)
		SELECT p.id, $3, $4, CAST($2 AS BIGINT) FROM purchases p
		WHERE p.id = $1 AND `+activeNow+` AND (p.device_limit = 0 OR p.device_limit > (
			SELECT COUNT(*) FROM devices d WHERE d.purchase_id = p.id AND d.removed_at IS NULL))
		ON CONFLICT (purchase_id, device_id) DO NOTHING`, purchaseID, l.now(), d.ID, d.Label)
	if added > 0 {
		t.touches(purchaseID)
		return nil
	}
	stored, _ := readPurchase(t, purchaseID)
	if err := l.inactive(stored); err != nil {
		return err
	}
	var removedAt time.Time
	if !t.get(deviceRemoved, args{purchaseID, d.ID}, unix(&removedAt)) {
		return ErrNoneLeft
	}
	if !removedAt.IsZero() {
		return ErrInactive
	}
	return nil
}

const deviceRemoved = `SELECT removed_at FROM devices WHERE purchase_id = $1 AND device_id = $2`

// RemoveDevice removes a device from a purchase; its id never returns. It returns ErrNotFound where the purchase never
// had it.
func (l *Ledger) RemoveDevice(ctx context.Context, purchaseID, deviceID string) error {
	return change(ctx, l, func(t *tx) error {
		removed := t.exec(`
			UPDATE devices SET removed_at = $3
			WHERE purchase_id = $1 AND device_id = $2 AND removed_at IS NULL`, purchaseID, deviceID, l.now())
		switch {
		case removed > 0:
			l.advanceFeed(t, purchaseID)
		case !t.get(deviceRemoved, args{purchaseID, deviceID}, new(any)):
			return ErrNotFound
		}
		return nil
	})
}

// Claim takes a purchase over, which only one device may, and adds it. It returns nil if the device has done so already,
// ErrNoneLeft if another device has or all devices are in use, and the errors of AddDevice.
func (l *Ledger) Claim(ctx context.Context, purchaseID string, d Device) error {
	return change(ctx, l, func(t *tx) error {
		var claimant string
		t.get(`SELECT device_id FROM devices WHERE purchase_id = $1 AND claimed = 1`, args{purchaseID}, &claimant)
		if claimant != "" && claimant != d.ID {
			return ErrNoneLeft
		}
		if err := l.addDevice(t, purchaseID, d); err != nil {
			return err
		}
		t.exec(`UPDATE devices SET claimed = 1 WHERE purchase_id = $1 AND device_id = $2`, purchaseID, d.ID)
		return nil
	})
}

// OpenDownload opens a window in which a purchase may be downloaded, and counts it. A window that is open is returned as
// it is, whatever has become of the purchase. It returns ErrNotFound, ErrInactive, or ErrNoneLeft where the purchase has
// no download left.
func (l *Ledger) OpenDownload(ctx context.Context, purchaseID string, window time.Duration) (endsAt time.Time, err error) {
	return write(ctx, l, func(t *tx) (time.Time, error) {
		opened := t.exec(`
			UPDATE purchases AS p SET downloads_used = downloads_used + 1, download_window_ends_at = $3
			WHERE p.id = $1 AND `+activeNow+` AND (p.download_limit = 0 OR p.downloads_used < p.download_limit)
				AND (p.download_window_ends_at IS NULL OR p.download_window_ends_at <= CAST($2 AS BIGINT))`,
			purchaseID, l.now(), seconds(l.options.Now().Add(window)))
		if opened > 0 {
			t.touches(purchaseID)
		}
		stored, _ := readPurchase(t, purchaseID)
		if opened > 0 || l.options.Now().Before(stored.DownloadWindowEndsAt) {
			return stored.DownloadWindowEndsAt, nil
		}
		return time.Time{}, cmp.Or(l.inactive(stored), ErrNoneLeft)
	})
}
