package ledger

import (
	"context"
	"errors"
	"io/fs"
)

// Sold finds the Paid fact that an event about a payment is about, by whichever of
// the ids it names. The error is ErrNotPaid where there is none yet, wraps
// ErrGarbled, or says why storage could not tell.
func (l *Ledger) Sold(ctx context.Context, session, payment string) (Fact, error) {
	if session != "" {
		sold, err := l.get(ctx, Paid, session)
		if !errors.Is(err, fs.ErrNotExist) {
			return sold, err
		}
	}
	if payment == "" {
		return Fact{}, ErrNotPaid
	}
	linked, err := l.get(ctx, link, payment)
	if err == nil {
		linked, err = l.get(ctx, Paid, linked.Session)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Fact{}, ErrNotPaid
	}
	return linked, err
}
