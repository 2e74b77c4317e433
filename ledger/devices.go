package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// activeNow is the condition that a purchase p is active at the time $2.
const activeNow = `p.status = 'active' AND (p.ends_at IS NULL OR p.ends_at > CAST($2 AS BIGINT))`

// AddDevice adds a device to a purchase. It returns nil where the device is in use already, ErrNotFound
// without such a purchase, ErrInactive where it is not active, ErrRemoved for a device that was removed, and
// ErrNoneLeft where all devices are taken. A device limit of 0 is no limit.
func (l *Ledger) AddDevice(ctx context.Context, purchaseID string, d Device) error {
	if d.ID == "" {
		return errors.New("a device needs an id")
	}
	var isInUse bool
	err := l.readOne(ctx, func(ctx context.Context, tx *tx) (err error) {
		isInUse, err = l.deviceInUse(ctx, tx, purchaseID, d.ID)
		return err
	})
	if err != nil || isInUse {
		return err
	}
	var outcome error
	err = l.write(ctx, func(ctx context.Context, tx *tx) (err error) {
		outcome, err = l.addDevice(ctx, tx, purchaseID, d)
		return err
	})
	if err == nil {
		err = outcome
	}
	return err
}

// deviceInUse returns ErrNotFound, ErrInactive or ErrRemoved where a device can be neither in use nor added.
func (l *Ledger) deviceInUse(ctx context.Context, tx *tx, purchaseID, deviceID string) (bool, error) {
	known := l.installation.Load()
	var installation string
	var id, device sql.NullString
	var isActive, removed sql.NullInt64
	err := tx.QueryRowContext(ctx, `
		SELECT i.id, p.id, CASE WHEN `+activeNow+` THEN 1 ELSE 0 END, d.device_id, d.removed_at
		FROM installation i LEFT JOIN purchases p ON p.id = $1
		LEFT JOIN devices d ON d.purchase_id = p.id AND d.device_id = $3`,
		purchaseID, l.now(), deviceID).Scan(&installation, &id, &isActive, &device, &removed)
	if err := l.ours(known, installation, err); err != nil {
		return false, err
	}
	switch {
	case !id.Valid:
		return false, ErrNotFound
	case removed.Valid:
		return false, ErrRemoved
	case isActive.Int64 == 0:
		return false, ErrInactive
	}
	return device.Valid, nil
}

func (l *Ledger) addDevice(ctx context.Context, tx *tx, purchaseID string, d Device) (outcome, err error) {
	added, err := tx.affects(ctx, `
		INSERT INTO devices (purchase_id, device_id, label, added_at)
		SELECT p.id, $3, $4, CAST($2 AS BIGINT) FROM purchases p
		WHERE p.id = $1 AND `+activeNow+` AND (p.device_limit = 0 OR p.device_limit > (
			SELECT COUNT(*) FROM devices d WHERE d.purchase_id = p.id AND d.removed_at IS NULL))
		ON CONFLICT (purchase_id, device_id) DO NOTHING`, purchaseID, l.now(), d.ID, d.Label)
	if err != nil {
		return nil, err
	}
	if added > 0 {
		tx.touches(purchaseID)
		return nil, nil
	}
	isInUse, err := l.deviceInUse(ctx, tx, purchaseID, d.ID)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrRemoved), errors.Is(err, ErrInactive):
		return err, nil
	case err != nil || isInUse:
		return nil, err
	}
	return ErrNoneLeft, nil
}

// RemoveDevice removes a device from a purchase; its id never returns. It returns ErrNotFound where the
// purchase never had it.
func (l *Ledger) RemoveDevice(ctx context.Context, purchaseID, deviceID string) error {
	var outcome error
	err := l.write(ctx, func(ctx context.Context, tx *tx) error {
		outcome = nil
		removed, err := tx.affects(ctx, `
			UPDATE devices SET removed_at = $3
			WHERE purchase_id = $1 AND device_id = $2 AND removed_at IS NULL`, purchaseID, deviceID, l.now())
		if err != nil {
			return err
		}
		if removed > 0 {
			tx.touches(purchaseID)
			return l.advanceFeed(ctx, tx, purchaseID)
		}
		var had int
		err = tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM devices WHERE purchase_id = $1 AND device_id = $2`, purchaseID, deviceID).Scan(&had)
		if had == 0 {
			outcome = ErrNotFound
		}
		return err
	})
	if err == nil {
		err = outcome
	}
	return err
}

// Claim takes something that a purchase gives once, and adds the device that takes it. It returns nil where the
// device has it already, ErrNoneLeft where another one has or all devices are taken, and the errors of
// AddDevice.
func (l *Ledger) Claim(ctx context.Context, purchaseID string, kind ClaimKind, d Device) error {
	var outcome error
	err := l.write(ctx, func(ctx context.Context, tx *tx) (err error) {
		outcome, err = l.claim(ctx, tx, purchaseID, kind, d)
		return err
	})
	if err != nil {
		return err
	}
	return outcome
}

func (l *Ledger) claim(ctx context.Context, tx *tx, purchaseID string, kind ClaimKind, d Device) (outcome, err error) {
	var claimant string
	err = tx.QueryRowContext(ctx, `SELECT device_id FROM claims WHERE purchase_id = $1 AND kind = $2`, purchaseID, string(kind)).Scan(&claimant)
	if err := ignoreNoRows(err); err != nil {
		return nil, err
	}
	if claimant != "" && claimant != d.ID {
		return ErrNoneLeft, nil
	}
	if outcome, err = l.addDevice(ctx, tx, purchaseID, d); err != nil || outcome != nil || claimant != "" {
		return outcome, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO claims (purchase_id, kind, device_id, at) VALUES ($1, $2, $3, $4)`,
		purchaseID, string(kind), d.ID, l.now())
	return nil, err
}

// OpenDownload opens a window in which a purchase may be downloaded, and counts it. A window that is open
// is returned as it is, whatever has become of the purchase. It returns ErrNotFound, ErrInactive, or
// ErrNoneLeft where the purchase has no download left.
func (l *Ledger) OpenDownload(ctx context.Context, purchaseID string, window time.Duration) (endsAt time.Time, err error) {
	isOpen := func(h Purchase) bool { return l.options.Now().Before(h.DownloadWindowEndsAt) }
	known, err := l.Holding(ctx, purchaseID)
	if err != nil || isOpen(known.Purchase) {
		return known.DownloadWindowEndsAt, err
	}
	var opened time.Time // not read after an error: the write may still be under way
	var outcome error
	err = l.write(ctx, func(ctx context.Context, tx *tx) error {
		opened, outcome = time.Time{}, nil
		ends := seconds(l.options.Now().Add(window))
		changed, err := tx.affects(ctx, `
			UPDATE purchases AS p SET downloads_used = downloads_used + 1, download_window_ends_at = $3
			WHERE p.id = $1 AND `+activeNow+`
				AND (p.download_limit = 0 OR p.downloads_used < p.download_limit)
				AND (p.download_window_ends_at IS NULL OR p.download_window_ends_at <= CAST($2 AS BIGINT))`,
			purchaseID, l.now(), ends)
		if err != nil {
			return err
		}
		if changed > 0 {
			opened = timeOf(ends)
			tx.touches(purchaseID)
			return nil
		}
		stored, _, err := readPurchase(ctx, tx, purchaseID)
		opened = stored.DownloadWindowEndsAt
		switch {
		case err != nil:
			return fmt.Errorf("purchase %s: %w", purchaseID, err)
		case stored.ID == "":
			outcome = ErrNotFound
		case isOpen(stored):
		case stored.StatusAt(l.options.Now()) != Active:
			outcome = ErrInactive
		default:
			outcome = ErrNoneLeft
		}
		return nil
	})
	switch {
	case err != nil:
		return time.Time{}, err
	case outcome != nil:
		return time.Time{}, outcome
	}
	return opened, nil
}
