package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Bounds of how long records are kept after access has ended.
const (
	// DefaultKeep is longer than the longest time within which cards are disputed, and
	// covers the accounts of the past year.
	DefaultKeep = 540 * 24 * time.Hour
	// MinKeep: within this time a purchase may still be extended, and events delivered.
	MinKeep = 60 * 24 * time.Hour
)

// Swept is what a Sweep has done.
type Swept struct {
	Purchases int `json:"purchases"` // of which access had ended
	Others    int `json:"others"`    // records of no purchase that is still known
	Deleted   int `json:"deleted"`   // records in all
	Kept      int `json:"kept"`      // payments, and what was given
	Garbled   int `json:"garbled"`   // records that cannot be read; they are left alone
}

// Sweep deletes what the ledger knows about purchases whose access ended longer ago
// than keep, and records of that age that belong to none. Access without an end is never
// swept, also after a refund: an event that came again would open it. It may be
// interrupted at any time, and run on several nodes at once.
func (a *Archive) Sweep(ctx context.Context, now time.Time, keep time.Duration) (Swept, error) {
	if keep < MinKeep {
		return Swept{}, fmt.Errorf("records must be kept for %s at least, not %s", MinKeep, keep)
	}
	sweep := sweeper{archive: a, before: now.Add(-keep), parts: make(map[string]bool)}
	for _, kind := range []Kind{Paid, Given} {
		if err := a.walk(ctx, kind, func(record stored) error { return sweep.purchase(ctx, kind, record) }); err != nil {
			return sweep.done, err
		}
	}
	for _, kind := range kinds {
		if kind == Paid || kind == Given || kind == eventful {
			continue
		}
		if err := a.walk(ctx, kind, func(record stored) error { return sweep.other(ctx, kind, record) }); err != nil {
			return sweep.done, err
		}
	}
	return sweep.done, nil
}

type sweeper struct {
	archive *Archive
	done    Swept
	before  time.Time       // what ended before this goes
	parts   map[string]bool // of purchases that are not over, or not met yet
}

// isOver reports whether a time has come and is long past.
func (s *sweeper) isOver(end time.Time) bool { return !end.IsZero() && end.Before(s.before) }

func (s *sweeper) purchase(ctx context.Context, kind Kind, record stored) error {
	fact, err := decode(record.raw, kind)
	if err != nil {
		s.done.Garbled++
		return nil //nolint:nilerr // it is counted
	}
	s.done.Kept++
	// The whole purchase lasts at least as long: most are told by one read.
	if !s.isOver(fact.Terms.Access.Until(fact.At)) {
		return nil
	}
	grant, err := s.archive.purchase(ctx, fact.Session, "")
	if err == nil && fact.Terms.Extends != "" {
		var whole string
		if whole, err = s.archive.WholeOf(ctx, fact.Session); err == nil && whole != fact.Session {
			s.parts[fact.Session] = true
			return nil // it goes with the whole
		}
	}
	switch {
	case errors.Is(err, ErrGarbled), errors.Is(err, ErrNotPaid): // another node was faster
		return nil
	case err != nil:
		return err
	case !s.isOver(grant.Until):
		return nil
	}
	return s.purchaseAndItsParts(ctx, fact)
}

// purchaseAndItsParts deletes what extends a purchase before the purchase itself: alone,
// an extension could last longer than as a part.
func (s *sweeper) purchaseAndItsParts(ctx context.Context, fact Fact) error {
	sessions, err := s.archive.extending(ctx, fact.Session)
	if err != nil {
		return err
	}
	for _, session := range sessions {
		part, err := s.archive.get(ctx, Paid, session)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, ErrGarbled):
			return nil // the next delivery heals it, and a later sweep takes both
		case err != nil:
			return err
		case Grant{Fact: part}.isPartOf(fact):
			if s.parts[session] { // met before the whole
				s.done.Kept--
			}
			s.done.Purchases++
			if err := s.purchaseAndAllAboutIt(ctx, part); err != nil {
				return err
			}
		}
	}
	s.done.Kept--
	s.done.Purchases++
	return s.purchaseAndAllAboutIt(ctx, fact)
}

// purchaseAndAllAboutIt deletes the payment first: whatever is left of the rest then
// opens nothing, and goes with the next sweep. The markers come next, since only the
// rest leads to them.
func (s *sweeper) purchaseAndAllAboutIt(ctx context.Context, fact Fact) error {
	if err := s.delete(ctx, key(fact.Kind, fact.Session)); err != nil {
		return err
	}
	ids := []string{fact.Session}
	if fact.Payment != "" {
		ids = append(ids, fact.Payment)
	}
	for _, id := range ids {
		if err := s.deleteIfThere(ctx, key(eventful, id)); err != nil {
			return err
		}
	}
	for _, kind := range []Kind{Device, Fetch, Claimed, Extension, Decision} {
		if err := s.places(ctx, kind, fact.Session); err != nil {
			return err
		}
	}
	for _, id := range ids {
		for _, kind := range []Kind{Refunded, Disputed, DisputeWon, DisputeLost, Mismatch, link} {
			if err := s.deleteIfThere(ctx, key(kind, id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// places deletes the numbered places of a purchase from the last one on, so that none is
// left behind a gap.
func (s *sweeper) places(ctx context.Context, kind Kind, session string) error {
	last := 0
	for last < maxPlaces {
		_, err := s.archive.get(ctx, kind, placeID(session, last+1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil && !errors.Is(err, ErrGarbled) {
			return err
		}
		last++
	}
	for ; last > 0; last-- {
		if err := s.delete(ctx, key(kind, placeID(session, last))); err != nil {
			return err
		}
	}
	return nil
}

// other deletes a record whose purchase is not known any more, or never was.
func (s *sweeper) other(ctx context.Context, kind Kind, record stored) error {
	fact, err := decode(record.raw, kind)
	if err != nil {
		s.done.Garbled++
		return nil //nolint:nilerr // it is counted
	}
	if !s.isOver(fact.At) {
		return nil
	}
	known, err := s.isOfKnown(ctx, fact)
	if err != nil || known {
		return err
	}
	s.done.Others++
	if err := s.deleteIfThere(ctx, markerOf(fact, record)); err != nil {
		return err
	}
	return s.delete(ctx, record.key)
}

// markerOf is the key of the marker that leads readers to a record.
func markerOf(f Fact, record stored) string {
	if f.Kind.numbered() {
		return key(eventful, f.Session)
	}
	// All kinds share the last part of the key.
	return root + string(eventful) + "/" + record.hash
}

// isOfKnown reports whether the ledger has the payment that a record is about.
func (s *sweeper) isOfKnown(ctx context.Context, fact Fact) (bool, error) {
	session := fact.Session
	if session == "" {
		linked, err := s.archive.get(ctx, link, fact.Payment)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return true, ignoreGarbled(err)
		}
		session = linked.Session
	}
	_, err := s.archive.get(ctx, opening(session), session)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, ignoreGarbled(err)
}

// ignoreGarbled: the next delivery heals what is garbled, so it counts as known.
func ignoreGarbled(err error) error {
	if errors.Is(err, ErrGarbled) {
		return nil
	}
	return err
}

func (s *sweeper) delete(ctx context.Context, key string) error {
	if err := s.archive.remove(ctx, key); err != nil {
		return err
	}
	s.done.Deleted++
	return nil
}

// deleteIfThere deletes nothing that it does not have to: some storages make a record
// of what was deleted.
func (s *sweeper) deleteIfThere(ctx context.Context, key string) error {
	_, err := s.archive.storage.load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for a record: %w", err)
	}
	return s.delete(ctx, key)
}
