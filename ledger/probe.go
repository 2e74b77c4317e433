package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

// probeTimeout bounds how long a probe waits in the queue.
const probeTimeout = 2 * time.Second

// errProbed takes back what a probe has stored.
var errProbed = errors.New("only a trial")

// probe tries to write after a write has failed, so that Err notices when the ledger is right again. Nothing else
// than a payment says so: a ledger may be written in part.
func (l *Ledger) probe() {
	if !l.health.startProbe() {
		return
	}
	go func() {
		defer l.health.endProbe()
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		if err := l.write(ctx, l.storeTrial); !errors.Is(err, errProbed) {
			return // noted by the writer
		}
		err := l.write(ctx, func(ctx context.Context, tx *tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE feed SET seq = seq`)
			return err
		})
		if err == nil {
			l.health.wrote(l.options, nil)
		}
	}()
}

// storeTrial stores a payment, a device and a refund, and takes them back.
func (l *Ledger) storeTrial(ctx context.Context, tx *tx) error {
	session, err := l.randomHex(16)
	if err != nil {
		return err
	}
	p := Payment{
		SessionID: "trial_" + session, PaymentIDs: []string{session}, Source: FromOperator, PaidAt: l.options.Now(),
		Terms: terms.Terms{Resource: terms.WholePass, Access: terms.Forever},
	}
	recorded, err := l.recordPayment(ctx, tx, p)
	if err != nil {
		return err
	}
	if _, err := l.addDevice(ctx, tx, recorded.Purchase.ID, Device{ID: session}); err != nil {
		return err
	}
	if _, err := l.recordEvent(ctx, tx, Event{Kind: EventRefunded, PaymentIDs: p.PaymentIDs, OccurredAt: p.PaidAt}); err != nil {
		return err
	}
	return errProbed
}
