package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Holding reads a purchase with the devices in use.
func (l *Ledger) Holding(ctx context.Context, purchaseID string) (Holding, error) {
	holding, _, err := l.holding(ctx, holdingQuery, purchaseID)
	return holding, err
}

// HoldingOfSession reads the purchase that the payment of a session counts for. If that payment is a
// mismatched one, the status is Mismatched even where other payments keep the purchase open.
func (l *Ledger) HoldingOfSession(ctx context.Context, sessionID string) (Holding, error) {
	holding, outcome, err := l.holding(ctx, sessionQuery, sessionID)
	if outcome == mismatch {
		holding.Status = Mismatched
	}
	return holding, err
}

// Payment reads the payment of a session, with what was sold by it. It returns ErrNotFound where there is none.
func (l *Ledger) Payment(ctx context.Context, sessionID string) (p Payment, err error) {
	err = l.readOne(ctx, func(ctx context.Context, tx *tx) error {
		p, _, err = l.payment(ctx, tx, sessionID)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		return err
	})
	return p, err
}

// Devices lists the devices of a purchase, removed ones included, the oldest first.
func (l *Ledger) Devices(ctx context.Context, purchaseID string) (devices []Device, err error) {
	err = l.readOne(ctx, func(ctx context.Context, tx *tx) error {
		devices, err = readDevices(ctx, tx, purchaseID)
		return err
	})
	return devices, err
}

// Every look-up joins the installation. A database without one is not ours, so it cannot say "not found".
const (
	holdingQuery = `
		SELECT i.id, '', d.device_id, ` + purchaseColumns + `
		FROM installation i LEFT JOIN purchases p ON p.id = $1
		LEFT JOIN devices d ON d.purchase_id = p.id AND d.removed_at IS NULL
		ORDER BY d.added_at, d.device_id`
	sessionQuery = `
		SELECT i.id, m.outcome, d.device_id, ` + purchaseColumns + `
		FROM installation i LEFT JOIN payments m ON m.session_id = $1 LEFT JOIN purchases p ON p.id = m.purchase_id
		LEFT JOIN devices d ON d.purchase_id = p.id AND d.removed_at IS NULL
		ORDER BY d.added_at, d.device_id`
)

func (l *Ledger) holding(ctx context.Context, query, id string) (holding Holding, outcome string, err error) {
	err = l.readOne(ctx, func(ctx context.Context, tx *tx) error {
		known := l.installation.Load()
		var installation string
		var paid, device sql.NullString
		var row purchaseRow
		var devices []string
		err := scanAll(ctx, tx, func(rows *sql.Rows) error {
			err := rows.Scan(append([]any{&installation, &paid, &device}, row.targets()...)...)
			if device.Valid {
				devices = append(devices, device.String)
			}
			return err
		}, query, id)
		if err := l.ours(known, installation, err); err != nil {
			return err
		}
		switch {
		case paid.String != "" && !row.id.Valid:
			return fmt.Errorf("the purchase of session %s is missing", id)
		case !row.id.Valid:
			return ErrNotFound
		}
		holding, outcome = Holding{Purchase: row.purchase(), DeviceIDs: devices}, paid.String
		return nil
	})
	return holding, outcome, err
}

// ours checks the installation that a look-up returned. known is the one that was known before the look-up: the
// first ChangeKeys may have made it meanwhile.
func (l *Ledger) ours(known *string, installation string, err error) error {
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if installation == "" && known == nil {
		return errNoInstallation
	}
	err = l.checkInstallation(installation)
	if err != nil {
		l.health.fail(l.options, err)
	}
	return err
}

// errNoInstallation means that ChangeKeys was never called.
var errNoInstallation = errors.New("the database has no keys yet")
