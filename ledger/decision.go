package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/money"
)

// What the operator of a site decides about a purchase.
const (
	// Decision is a numbered place of a purchase that holds what its operator decided;
	// the last one counts.
	Decision Kind = "decision"

	Revoked  Kind = "revoked"  // access is withdrawn
	Restored Kind = "restored" // what was withdrawn is given back
)

// maxDecisions bounds how often a purchase is decided about: each costs one read
// whenever it is looked up.
const maxDecisions = 100

// ErrDecided: the last decision about the purchase was the same already.
var ErrDecided = errors.New("the purchase is in that state already")

// Decide withdraws the access of a purchase (Revoked), with all that extends it, or
// gives back what was withdrawn (Restored). The session is that of the whole; see WholeOf.
// It undoes no refund and no dispute. The note says why. The error is ErrDecided, ErrNotPaid, or says why storage could not tell.
func (l *Ledger) Decide(ctx context.Context, session string, decision Kind, note string, at time.Time) error {
	if decision != Revoked && decision != Restored {
		return fmt.Errorf("%q cannot be decided about a purchase", decision)
	}
	if _, err := l.get(ctx, opening(session), session); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return ErrNotPaid
		}
		return err
	}
	made, err := l.decisions(ctx, session)
	if err != nil {
		return err
	}
	last := Restored
	if len(made) > 0 {
		last = Kind(made[len(made)-1].Holder)
	}
	if last == decision {
		return ErrDecided
	}
	defer l.tell(ShardOf(session))                         // also after an error: it may be stored
	if err := l.foretell(ctx, session, true); err != nil { // a decision that nobody looks for is none
		return err
	}
	fact := Fact{Kind: Decision, Session: session, At: at, Holder: string(decision), Note: note}
	for slot := len(made) + 1; slot <= maxDecisions; slot++ {
		has, err := l.occupy(ctx, fact, slot)
		if err != nil || Kind(has) == decision {
			return err
		}
	}
	return fmt.Errorf("%w: %d decisions were made about the purchase", ErrNoneLeft, maxDecisions)
}

// decisions lists what was decided about a purchase, in order.
func (l *Ledger) decisions(ctx context.Context, session string) ([]Fact, error) {
	var made []Fact
	for slot := 1; slot <= maxDecisions; slot++ {
		f, err := l.get(ctx, Decision, placeID(session, slot))
		switch {
		case err == nil && f.Session != session:
			return nil, fmt.Errorf("%w: a decision about another purchase", ErrGarbled)
		case err == nil:
			made = append(made, f)
		case errors.Is(err, fs.ErrNotExist):
			return made, nil
		default:
			return nil, err // a garbled one may be the one that counts
		}
	}
	return made, nil
}

// isRevoked says whether access was withdrawn, and not given back. A decision of a later
// version is taken for a withdrawal.
func (l *Ledger) isRevoked(ctx context.Context, session string) (bool, error) {
	made, err := l.decisions(ctx, session)
	return len(made) > 0 && Kind(made[len(made)-1].Holder) != Restored, err
}

// givenPrefix begins the session ids of what was given. Axra's ids hold no colon.
const givenPrefix = "given:"

// IsGiven reports whether a session id is one of Give.
func IsGiven(session string) bool { return strings.HasPrefix(session, givenPrefix) }

// opening is the kind of the fact that opens a session.
func opening(session string) Kind {
	if IsGiven(session) {
		return Given
	}
	return Paid
}

// Give opens what the terms say, without a payment, and returns the id of the session
// that stands for it. Only an operator may.
func (l *Ledger) Give(ctx context.Context, f Fact) (session string, err error) {
	f.Kind, f.Session, f.Payment = Given, givenPrefix+strings.ToLower(rand.Text()), ""
	f.Terms.Price = money.Price{} // none was asked
	return f.Session, l.store(ctx, f, f.Session)
}
