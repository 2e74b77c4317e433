package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// Details returns all that is known about a purchase, or ErrNotFound. Everything is in the order of time.
func (l *Ledger) Details(ctx context.Context, purchaseID string) (Details, error) {
	var d Details
	parts := []func(context.Context, *tx, *Details) error{
		l.addPayments, addEvents, addDecisions, addDevices, addClaims,
	}
	err := l.read(ctx, func(ctx context.Context, tx *tx) (err error) {
		d = Details{} // f may run twice
		if d.Purchase, _, err = readPurchase(ctx, tx, purchaseID); err != nil {
			return err
		}
		if d.ID == "" {
			return ErrNotFound
		}
		for _, add := range parts {
			if err := add(ctx, tx, &d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Details{}, fmt.Errorf("reading purchase %s: %w", purchaseID, err)
	}
	return d, nil
}

func (l *Ledger) addPayments(ctx context.Context, tx *tx, d *Details) error {
	sessions, err := tx.texts(ctx, `SELECT session_id FROM payments WHERE purchase_id = $1 ORDER BY paid_at, extends, session_id`, d.ID)
	if err != nil {
		return err
	}
	for _, session := range sessions {
		payment, _, err := l.payment(ctx, tx, session)
		if err != nil {
			return err
		}
		d.Payments = append(d.Payments, payment)
		charges, err := readCharges(ctx, tx, session)
		if err != nil {
			return err
		}
		d.DoubleCharges = append(d.DoubleCharges, charges.doubles()...)
	}
	return nil
}

func addEvents(ctx context.Context, tx *tx, d *Details) error {
	var ids []string
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var id string
		var event Event
		var occurredAt sql.NullInt64
		err := rows.Scan(&id, &event.Kind, &event.SessionID, &occurredAt)
		event.OccurredAt = timeOf(occurredAt)
		ids, d.Events = append(ids, id), append(d.Events, event)
		return err
	}, `
		WITH about AS (
			SELECT e.id
			FROM payments p CROSS JOIN events e
			WHERE p.purchase_id = $1 AND e.session_id = p.session_id
			UNION
			SELECT x.event_id
			FROM payments p CROSS JOIN payment_ids i CROSS JOIN event_ids x
			WHERE p.purchase_id = $1 AND i.session_id = p.session_id AND x.external_id = i.payment_id
		)
		SELECT e.id, e.kind, e.session_id, e.occurred_at
		FROM about CROSS JOIN events e
		WHERE e.id = about.id
		ORDER BY e.occurred_at, e.id`, d.ID)
	if err != nil {
		return err
	}
	for i, id := range ids {
		d.Events[i].PaymentIDs, err = tx.texts(ctx, `SELECT external_id FROM event_ids WHERE event_id = $1 ORDER BY external_id`, id)
		if err != nil {
			return err
		}
	}
	return nil
}

func addDecisions(ctx context.Context, tx *tx, d *Details) error {
	return scanAll(ctx, tx, func(rows *sql.Rows) error {
		var decision Decision
		var decidedAt sql.NullInt64
		err := rows.Scan(&decision.Kind, &decision.Note, &decidedAt)
		decision.DecidedAt = timeOf(decidedAt)
		d.Decisions = append(d.Decisions, decision)
		return err
	}, `SELECT kind, note, decided_at FROM decisions WHERE purchase_id = $1 ORDER BY n`, d.ID)
}

func addDevices(ctx context.Context, tx *tx, d *Details) (err error) {
	d.Devices, err = readDevices(ctx, tx, d.ID)
	return err
}

func readDevices(ctx context.Context, tx *tx, purchaseID string) ([]Device, error) {
	var devices []Device
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var device Device
		var addedAt, removedAt sql.NullInt64
		err := rows.Scan(&device.ID, &device.Label, &addedAt, &removedAt)
		device.AddedAt, device.RemovedAt = timeOf(addedAt), timeOf(removedAt)
		devices = append(devices, device)
		return err
	}, `SELECT device_id, label, added_at, removed_at FROM devices WHERE purchase_id = $1 ORDER BY added_at, device_id`, purchaseID)
	return devices, err
}

func addClaims(ctx context.Context, tx *tx, d *Details) error {
	d.Claims = make(map[ClaimKind]string)
	return scanAll(ctx, tx, func(rows *sql.Rows) error {
		var kind ClaimKind
		var deviceID string
		err := rows.Scan(&kind, &deviceID)
		d.Claims[kind] = deviceID
		return err
	}, `SELECT kind, device_id FROM claims WHERE purchase_id = $1`, d.ID)
}
