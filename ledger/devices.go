package ledger

import (
	"context"
	"errors"
	"time"
)

// activeNow is the condition that a purchase p is active at the time $2.
const activeNow = `p.status = 'active' AND (p.ends_at IS NULL OR p.ends_at > CAST($2 AS BIGINT))`

// AddDevice adds a device to a purchase. It returns nil if the device is already in use, ErrNotFound if there is no such
// purchase, ErrInactive if it is not active or the device was removed, and ErrNoneLeft if all devices are in
// use. A device limit of 0 means no limit.
func (l *Ledger) AddDevice(ctx context.Context, purchaseID string, d Device) error {
	if d.ID == "" {
		return errors.New("a device needs an id")
	}
	isInUse, err := lookUp(ctx, l, func(t *tx) (bool, error) { return l.deviceInUse(t, purchaseID, d.ID) })
	if err != nil || isInUse {
		return err
	}
	return change(ctx, l, func(t *tx) error { return l.addDevice(t, purchaseID, d) })
}

// deviceInUse returns ErrNotFound or ErrInactive where a device can be neither in use nor added.
func (l *Ledger) deviceInUse(t *tx, purchaseID, deviceID string) (bool, error) {
	var installation, id, device string
	var isActive bool
	var removedAt time.Time
	t.get(`
		SELECT i.id, p.id, CASE WHEN `+activeNow+` THEN 1 ELSE 0 END, d.device_id, d.removed_at
		FROM installation i LEFT JOIN purchases p ON p.id = $1
		LEFT JOIN devices d ON d.purchase_id = p.id AND d.device_id = $3`,
		args{purchaseID, l.now(), deviceID}, &installation, null(&id), &isActive, null(&device), unix(&removedAt))
	if err := l.ours(t, installation); err != nil {
		return false, err
	}
	switch {
	case id == "":
		return false, ErrNotFound
	case !isActive, !removedAt.IsZero():
		return false, ErrInactive
	}
	return device != "", nil
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
	if isInUse, err := l.deviceInUse(t, purchaseID, d.ID); err != nil || isInUse {
		return err
	}
	return ErrNoneLeft
}

// RemoveDevice removes a device from a purchase; its id never returns. It returns ErrNotFound where the purchase never
// had it.
func (l *Ledger) RemoveDevice(ctx context.Context, purchaseID, deviceID string) error {
	return change(ctx, l, func(t *tx) error {
		removed := t.exec(`
			UPDATE devices SET removed_at = $3
			WHERE purchase_id = $1 AND device_id = $2 AND removed_at IS NULL`, purchaseID, deviceID, l.now())
		if removed > 0 {
			l.advanceFeed(t, purchaseID)
			return nil
		}
		if len(t.texts(`SELECT device_id FROM devices WHERE purchase_id = $1 AND device_id = $2`, purchaseID, deviceID)) == 0 {
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
	isOpen := func(p Purchase) bool { return l.options.Now().Before(p.DownloadWindowEndsAt) }
	known, err := l.Holding(ctx, purchaseID)
	if err != nil || isOpen(known.Purchase) {
		return known.DownloadWindowEndsAt, err
	}
	return write(ctx, l, func(t *tx) (time.Time, error) {
		opened := t.exec(`
			UPDATE purchases AS p SET downloads_used = downloads_used + 1, download_window_ends_at = $3
			WHERE p.id = $1 AND `+activeNow+`
				AND (p.download_limit = 0 OR p.downloads_used < p.download_limit)
				AND (p.download_window_ends_at IS NULL OR p.download_window_ends_at <= CAST($2 AS BIGINT))`,
			purchaseID, l.now(), seconds(l.options.Now().Add(window)))
		if opened > 0 {
			t.touches(purchaseID)
		}
		stored, _ := readPurchase(t, purchaseID)
		switch {
		case opened > 0, isOpen(stored):
			return stored.DownloadWindowEndsAt, nil
		case stored.ID == "":
			return time.Time{}, ErrNotFound
		case stored.StatusAt(l.options.Now()) != Active:
			return time.Time{}, ErrInactive
		}
		return time.Time{}, ErrNoneLeft
	})
}
