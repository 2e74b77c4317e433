// Package ledger keeps facts about payments in certmagic.Storage and draws
// grants from them. Facts are immutable and keyed by what they say, so that
// duplicates and any order of events lead to the same state without locks:
// storage offers no compare-and-swap. Only the numbered places of a purchase are
// contended; see Take.
package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"
)

// ErrNotPaid: the ledger knows of no payment for the session.
var ErrNotPaid = errors.New("session is not paid")

// Storage is the part of certmagic.Storage that a Ledger needs. Load answers
// with an error that wraps fs.ErrNotExist for a key that is not there.
type Storage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
}

// Ledger reads and writes facts. It is safe for concurrent use.
type Ledger struct {
	storage guarded
}

// DefaultTimeout bounds every single storage operation.
const DefaultTimeout = 5 * time.Second

// New returns a ledger on storage. Each storage operation is given up after
// timeout (DefaultTimeout if zero or less).
func New(storage Storage, timeout time.Duration) *Ledger {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Ledger{storage: newGuarded(storage, timeout)}
}

// Grant is the conclusion drawn from the facts about one session.
type Grant struct {
	Fact                // the Paid fact
	Until     time.Time // end of access; zero: for ever
	ClosedFor Kind      // Refunded, Disputed, DisputeLost or Revoked; empty while open
}

// Open reports whether the grant opens its resource at the time.
func (g Grant) Open(now time.Time) bool { return g.ClosedFor == "" && !g.Ended(now) }

// Ended reports whether access has run out by the time.
func (g Grant) Ended(now time.Time) bool { return !g.Until.IsZero() && !now.Before(g.Until) }

// Record stores a fact durably; when it returns nil the fact may be
// acknowledged. It reports whether the fact was new. A valid fact is never
// overwritten, a garbled one is.
func (l *Ledger) Record(ctx context.Context, f Fact) (fresh bool, err error) {
	switch f.Kind {
	case Paid, Mismatch:
		if f.Session == "" {
			return false, fmt.Errorf("a fact of kind %q without a session cannot be recorded", f.Kind)
		}
		fresh, err = l.recordSession(ctx, f)
	case Refunded, Disputed, DisputeWon, DisputeLost:
		if f.Session == "" && f.Payment == "" {
			return false, fmt.Errorf("a fact of kind %q without an id cannot be recorded", f.Kind)
		}
		fresh, err = l.recordOutcome(ctx, f)
	default:
		return false, fmt.Errorf("a fact of kind %q cannot be recorded", f.Kind)
	}
	return fresh && err == nil, err
}

func (l *Ledger) recordSession(ctx context.Context, f Fact) (bool, error) {
	if f.Kind == Paid && f.Payment != "" {
		if err := l.linkPayment(ctx, f); err != nil {
			return false, err
		}
	}
	if f.Kind == Paid && f.Terms.Extends != "" {
		if err := l.Extend(ctx, f.Terms.Extends, f.Session, f.At); err != nil {
			return false, err
		}
	}
	return l.put(ctx, f, f.Session)
}

// linkPayment leads from a payment id to its session. A local rail may be
// confirmed by two events with different ids, even at the same moment on two
// nodes: only one of them can stand in the paid record, and a refund may name the
// other. What is known about the id already counts for the session as well.
func (l *Ledger) linkPayment(ctx context.Context, f Fact) error {
	f.Kind = link
	if _, err := l.put(ctx, f, f.Payment); err != nil {
		return err
	}
	outcomes, _, err := l.outcomes(ctx, f.Payment)
	if err != nil {
		return err
	}
	for _, outcome := range outcomes {
		if _, err := l.putOutcome(ctx, outcome, f.Session); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) recordOutcome(ctx context.Context, f Fact) (bool, error) {
	ids := make([]string, 0, 2)
	if f.Session != "" {
		ids = append(ids, f.Session)
	}
	if f.Payment != "" {
		ids = append(ids, f.Payment)
	}
	fresh := false
	for _, id := range ids {
		stored, err := l.putOutcome(ctx, f, id)
		if err != nil {
			return false, err
		}
		fresh = fresh || stored
	}
	if f.Payment == "" {
		return fresh, nil
	}
	// Looked up only after writing under the payment's own id, so that whichever
	// of this event and linkPayment comes second sees the other.
	linked, err := l.get(ctx, link, f.Payment)
	switch {
	case err == nil:
		_, err := l.putOutcome(ctx, f, linked.Session)
		return fresh, err
	case errors.Is(err, fs.ErrNotExist):
		return fresh, nil
	default:
		return false, err
	}
}

// putOutcome stores what was decided about an id and the marker that makes
// readers look for it.
func (l *Ledger) putOutcome(ctx context.Context, f Fact, id string) (fresh bool, err error) {
	fresh, err = l.put(ctx, f, id)
	if err != nil {
		return false, err
	}
	return fresh, l.mark(ctx, id)
}

// mark makes readers look for more about the id than a payment.
func (l *Ledger) mark(ctx context.Context, id string) error {
	_, err := l.put(ctx, Fact{Kind: eventful}, id)
	return err
}

// put stores the fact under the id unless a valid one is there.
func (l *Ledger) put(ctx context.Context, f Fact, id string) (fresh bool, err error) {
	_, err = l.get(ctx, f.Kind, id)
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrGarbled):
		return true, l.store(ctx, f, id)
	default:
		return false, err
	}
}

// Grant draws the conclusion about a session. The error is ErrNotPaid, wraps
// ErrGarbled, or says why storage could not tell. An untroubled payment costs
// three reads.
//
// A session that extends another purchase is a part of that one: the grant is that
// purchase's, by its session, with the time of all its parts.
func (l *Ledger) Grant(ctx context.Context, session string) (Grant, error) {
	grant, err := l.purchase(ctx, session, "")
	extended := grant.Terms.Extends
	if err != nil || extended == "" || extended == session || grant.ClosedFor != "" {
		return grant, err
	}
	whole, err := l.purchase(ctx, extended, session)
	switch {
	case errors.Is(err, ErrNotPaid), errors.Is(err, errStandsAlone), err == nil && !grant.isPartOf(whole.Fact):
		return grant, nil // it was paid for: it stands alone
	case err != nil:
		return Grant{}, fmt.Errorf("the purchase that is extended: %w", err)
	}
	return whole, nil
}

// WholeOf is the session of the purchase of which a session is a part, open or not:
// itself, or the one that it extends.
func (l *Ledger) WholeOf(ctx context.Context, session string) (string, error) {
	part, err := l.purchase(ctx, session, "")
	extended := part.Terms.Extends
	if err != nil || extended == "" || extended == session {
		return session, err
	}
	whole, err := l.purchase(ctx, extended, session)
	switch {
	case errors.Is(err, ErrNotPaid), errors.Is(err, errStandsAlone), err == nil && !part.isPartOf(whole.Fact):
		return session, nil
	case err != nil:
		return "", fmt.Errorf("the purchase that is extended: %w", err)
	}
	return extended, nil
}

// alone draws the conclusion from what Axra has said about the session itself.
// isEventful says whether more may be known about its purchase.
func (l *Ledger) alone(ctx context.Context, session string) (grant Grant, isEventful bool, err error) {
	paid, err := l.get(ctx, opening(session), session)
	if errors.Is(err, fs.ErrNotExist) {
		return Grant{}, false, ErrNotPaid
	}
	if err != nil {
		return Grant{}, false, err
	}
	// An event may have named the session, the payment or both: what is known
	// about either is taken together.
	known := make(map[Kind]Fact)
	for _, id := range []string{session, paid.Payment} {
		if id == "" {
			continue
		}
		outcomes, marked, err := l.outcomes(ctx, id)
		if err != nil {
			return Grant{}, false, err
		}
		isEventful = isEventful || marked && id == session
		maps.Copy(known, outcomes)
	}
	begins := paid.At
	if from := paid.Terms.From; from.After(begins) {
		begins = from
	}
	return Grant{Fact: paid, Until: paid.Terms.Access.Until(begins), ClosedFor: conclude(known)}, isEventful, nil
}

// conclude: a refund or a lost dispute is final; an open dispute closes until
// it is won, whatever came first.
func conclude(outcomes map[Kind]Fact) Kind {
	has := func(k Kind) bool { _, ok := outcomes[k]; return ok }
	switch {
	case has(Refunded):
		return Refunded
	case has(DisputeLost):
		return DisputeLost
	case has(Disputed) && !has(DisputeWon):
		return Disputed
	default:
		return ""
	}
}

// outcomes reads what was decided about an id: one read when the id is not marked.
func (l *Ledger) outcomes(ctx context.Context, id string) (decided map[Kind]Fact, marked bool, err error) {
	_, err = l.get(ctx, eventful, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	found := make(map[Kind]Fact)
	for _, kind := range []Kind{Refunded, DisputeLost, Disputed, DisputeWon} {
		f, err := l.get(ctx, kind, id)
		switch {
		case err == nil:
			found[kind] = f
		case errors.Is(err, fs.ErrNotExist):
		default:
			return nil, false, err
		}
	}
	return found, true, nil
}

// Mismatched reports the payment that arrived for the session in the wrong
// amount or currency, or ErrNotPaid if none did.
func (l *Ledger) Mismatched(ctx context.Context, session string) (Fact, error) {
	f, err := l.get(ctx, Mismatch, session)
	if errors.Is(err, fs.ErrNotExist) {
		return Fact{}, ErrNotPaid
	}
	return f, err
}

func (l *Ledger) get(ctx context.Context, kind Kind, id string) (Fact, error) {
	raw, err := l.storage.load(ctx, key(kind, id))
	if err != nil {
		return Fact{}, fmt.Errorf("reading the %s record: %w", kind, err)
	}
	return decode(raw, kind)
}

// store writes the fact and reads it back: only what can be read again may be
// acknowledged.
func (l *Ledger) store(ctx context.Context, f Fact, id string) error {
	raw, err := f.encode()
	if err != nil {
		return err
	}
	if err := l.storage.store(ctx, key(f.Kind, id), raw); err != nil {
		return fmt.Errorf("storing the %s record: %w", f.Kind, err)
	}
	stored, err := l.storage.load(ctx, key(f.Kind, id))
	if err != nil {
		return fmt.Errorf("reading the %s record back: %w", f.Kind, err)
	}
	if bytes.Equal(stored, raw) {
		return nil
	}
	// Another node may have stored the same fact at the same time.
	if _, err := decode(stored, f.Kind); err != nil {
		return fmt.Errorf("reading the %s record back: %w", f.Kind, err)
	}
	return nil
}

// key hashes the id: storage keys are lower-cased, stripped and joined to
// paths, and an id comes from outside.
func key(kind Kind, id string) string {
	sum := sha256.Sum256([]byte(id))
	name := hex.EncodeToString(sum[:])
	return "axra/ledger/" + string(kind) + "/" + name[:2] + "/" + name[2:]
}
