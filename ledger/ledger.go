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
	"time"

	"golang.org/x/sync/errgroup"
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
	onNews  func(...Shard) // may be nil
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

	// Untroubled: nothing but the payment is known, of one that extends no other. As long
	// as there are no News about its session and its payment id, that remains so.
	Untroubled bool
}

// Open reports whether the grant opens its resource at the time.
func (g Grant) Open(now time.Time) bool { return g.ClosedFor == "" && !g.Ended(now) }

// Ended reports whether access has run out by the time.
func (g Grant) Ended(now time.Time) bool { return !g.Until.IsZero() && !now.Before(g.Until) }

// Record stores a fact durably; when it returns nil the fact may be
// acknowledged. It reports whether the fact was new. A valid fact is never
// overwritten, a garbled one is.
func (l *Ledger) Record(ctx context.Context, f Fact) (fresh bool, err error) {
	// Before anything is stored: several records are, at once.
	if _, err := f.At.UTC().MarshalJSON(); err != nil {
		return false, fmt.Errorf("a fact of kind %q cannot be recorded: %w", f.Kind, err)
	}
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

// recordSession stores a payment, and what leads from its payment id to it, at once:
// neither is read on the way to the other, and whatever is missing after a failure is
// healed by the next delivery, since nothing was acknowledged.
func (l *Ledger) recordSession(ctx context.Context, f Fact) (fresh bool, err error) {
	if f.Kind == Mismatch || f.Payment == "" {
		return l.putSession(ctx, f)
	}
	linked := false
	err = atOnce(
		func() (err error) { linked, err = l.linkPayment(ctx, f); return err },
		func() (err error) { fresh, err = l.putSession(ctx, f); return err },
	)
	if err != nil || fresh || !linked {
		return fresh, err
	}
	// Either another payment of the same session is new, or an earlier delivery of this
	// event came only half way, and nobody has been told of it yet.
	stands, err := l.get(ctx, Paid, f.Session)
	return err == nil && stands.Payment == f.Payment, err
}

func (l *Ledger) putSession(ctx context.Context, f Fact) (bool, error) {
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
func (l *Ledger) linkPayment(ctx context.Context, f Fact) (fresh bool, err error) {
	f.Kind = link
	if fresh, err = l.put(ctx, f, f.Payment); err != nil {
		return false, err
	}
	// Looked up only after the link is there, see recordPaymentOutcome.
	outcomes, _, err := l.outcomes(ctx, f.Payment)
	if err != nil {
		return false, err
	}
	for _, outcome := range outcomes {
		if _, err := l.putOutcome(ctx, outcome, f.Session); err != nil {
			return false, err
		}
	}
	return fresh, nil
}

func (l *Ledger) recordOutcome(ctx context.Context, f Fact) (bool, error) {
	var ofSession, ofPayment bool
	err := atOnce(
		func() (err error) {
			if f.Session != "" {
				ofSession, err = l.putOutcome(ctx, f, f.Session)
			}
			return err
		},
		func() (err error) {
			if f.Payment != "" {
				ofPayment, err = l.recordPaymentOutcome(ctx, f)
			}
			return err
		},
	)
	return ofSession || ofPayment, err
}

// recordPaymentOutcome stores what was decided about a payment id, also under the
// session that it paid.
func (l *Ledger) recordPaymentOutcome(ctx context.Context, f Fact) (fresh bool, err error) {
	if fresh, err = l.putOutcome(ctx, f, f.Payment); err != nil {
		return false, err
	}
	// Looked up only after writing under the payment's own id, so that whichever
	// of this event and linkPayment comes second sees the other.
	linked, err := l.get(ctx, link, f.Payment)
	switch {
	case err == nil && linked.Session == f.Session: // where it is stored anyway
		return fresh, nil
	case err == nil:
		_, err := l.putOutcome(ctx, f, linked.Session)
		return fresh, err
	case errors.Is(err, fs.ErrNotExist):
		return fresh, nil
	default:
		return false, err
	}
}

// putOutcome stores what was decided about an id. Readers are made to look for it before:
// where it stands, nothing else is missing.
func (l *Ledger) putOutcome(ctx context.Context, f Fact, id string) (fresh bool, err error) {
	known, err := l.has(ctx, f.Kind, id)
	if err != nil {
		return false, err
	}
	if !known {
		defer l.tell(ShardOf(id)) // also after an error: it may be stored
	}
	if err := l.foretell(ctx, id, !known); err != nil || known {
		return false, err
	}
	return true, l.store(ctx, f, id)
}

// foretell makes readers look for more about an id than a payment: first the marker,
// which every reading finds, then the news, by which all nodes read again. Both are there
// before what they lead to, so that neither is written again with every delivery. Where
// nothing is to come, only what an earlier version may have left out is added.
func (l *Ledger) foretell(ctx context.Context, id string, more bool) error {
	fresh, err := l.put(ctx, Fact{Kind: eventful}, id)
	if err != nil || !fresh && !more {
		return err
	}
	return l.announce(ctx, ShardOf(id))
}

// put stores the fact under the id unless a valid one is there.
func (l *Ledger) put(ctx context.Context, f Fact, id string) (fresh bool, err error) {
	known, err := l.has(ctx, f.Kind, id)
	if err != nil || known {
		return false, err
	}
	return true, l.store(ctx, f, id)
}

// has reports whether a valid fact of the kind stands under the id.
func (l *Ledger) has(ctx context.Context, kind Kind, id string) (bool, error) {
	_, err := l.get(ctx, kind, id)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrGarbled) {
		return false, nil
	}
	return err == nil, err
}

// Grant draws the conclusion about a session. The error is ErrNotPaid, wraps
// ErrGarbled, or says why storage could not tell. A session that is not paid costs one
// read. An untroubled payment costs three, the last two at once: the payment, and
// whether anything is known about the session or the payment id. The payment id is looked
// at by itself because what is known about it stands under the session only once Record
// has ended.
//
// A session that extends another purchase is a part of that one: the grant is that
// purchase's, by its session, with the time of all its parts.
func (l *Ledger) Grant(ctx context.Context, session string) (Grant, error) {
	grant, err := l.purchase(ctx, session, "")
	extended := grant.Terms.Extends
	if err != nil || extended == "" {
		return grant, err
	}
	grant.Untroubled = false // it hangs on the other one, too
	if extended == session || grant.ClosedFor != "" {
		return grant, nil
	}
	whole, err := l.purchase(ctx, extended, session)
	switch {
	case errors.Is(err, ErrNotPaid), errors.Is(err, errStandsAlone), err == nil && !grant.isPartOf(whole.Fact):
		return grant, nil // it was paid for: it stands alone
	case err != nil:
		return Grant{}, fmt.Errorf("the purchase that is extended: %w", err)
	}
	whole.Untroubled = false
	return whole, nil
}

// GrantOf draws the conclusion about a payment that Record has just stored, as Grant
// does. An untroubled one costs one read: what was known about the payment id already has
// been stored under the session as well.
func (l *Ledger) GrantOf(ctx context.Context, recorded Fact) (Grant, error) {
	if recorded.Terms.Extends == "" {
		marked, err := l.isMarked(ctx, recorded.Session)
		if err != nil {
			return Grant{}, err
		}
		if !marked {
			return recorded.grant(""), nil
		}
	}
	return l.Grant(ctx, recorded.Session)
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
	var ofSession, ofPayment map[Kind]Fact
	paymentEventful := false
	err = atOnce(
		func() (err error) { ofSession, isEventful, err = l.outcomes(ctx, session); return err },
		func() (err error) { ofPayment, paymentEventful, err = l.outcomes(ctx, paid.Payment); return err },
	)
	if err != nil {
		return Grant{}, false, err
	}
	grant = paid.grant(conclude(ofSession, ofPayment))
	grant.Untroubled = !isEventful && !paymentEventful
	return grant, isEventful, nil
}

// grant is what a payment opens by itself.
func (f Fact) grant(closedFor Kind) Grant {
	begins := f.At
	if from := f.Terms.From; from.After(begins) {
		begins = from
	}
	return Grant{Fact: f, Until: f.Terms.Access.Until(begins), ClosedFor: closedFor}
}

// conclude: a refund or a lost dispute is final; an open dispute closes until
// it is won, whatever came first.
func conclude(ofSession, ofPayment map[Kind]Fact) Kind {
	has := func(k Kind) bool {
		_, named := ofSession[k]
		_, ok := ofPayment[k]
		return named || ok
	}
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

// outcomes reads what was decided about an id: one read when the id is not marked, none
// when there is no id.
func (l *Ledger) outcomes(ctx context.Context, id string) (decided map[Kind]Fact, marked bool, err error) {
	if id == "" {
		return nil, false, nil
	}
	if marked, err = l.isMarked(ctx, id); err != nil || !marked {
		return nil, false, err
	}
	kinds := [...]Kind{Refunded, DisputeLost, Disputed, DisputeWon}
	var found [len(kinds)]*Fact
	reads := make([]func() error, len(kinds))
	for i, kind := range kinds {
		reads[i] = func() error {
			f, err := l.get(ctx, kind, id)
			if err == nil {
				found[i] = &f
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}
	}
	if err := atOnce(reads...); err != nil {
		return nil, false, err
	}
	decided = make(map[Kind]Fact)
	for i, f := range found {
		if f != nil {
			decided[kinds[i]] = *f
		}
	}
	return decided, true, nil
}

// isMarked reports whether more may be known about an id than a payment.
func (l *Ledger) isMarked(ctx context.Context, id string) (bool, error) {
	_, err := l.get(ctx, eventful, id)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// atOnce calls all of the functions at the same time and returns the first error, after
// the last has returned: one that fails leaves the others to end what they have begun.
func atOnce(all ...func() error) error {
	var group errgroup.Group
	for _, each := range all[1:] {
		group.Go(each)
	}
	err := all[0]()
	if other := group.Wait(); err == nil {
		err = other
	}
	return err
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
