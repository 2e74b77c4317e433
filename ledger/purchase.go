package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ErrStop ends a walk without an error of its own.
var ErrStop = errors.New("enough")

// Filter says which purchases are wanted; its zero value wants all.
type Filter struct {
	Pass string
	Site string
	From time.Time // paid at this time or later; zero: from the beginning
	To   time.Time // paid before this time; zero: until now

	// Unfitting wants the payments that arrived in another amount or currency than asked,
	// which opened nothing, in place of the others.
	Unfitting bool
}

func (f Filter) wants(fact Fact) bool {
	return (f.Pass == "" || f.Pass == fact.Terms.Pass) &&
		(f.Site == "" || f.Site == fact.Terms.Site) &&
		(f.From.IsZero() || !fact.At.Before(f.From)) &&
		(f.To.IsZero() || fact.At.Before(f.To))
}

// Purchases calls yield for every payment, and for all that was given, that the filter
// wants, in no order, with the conclusion about it. What cannot be read for certain, such as a garbled record, is passed to
// trouble. An error of yield ends it and is returned, but for ErrStop.
func (a *Archive) Purchases(ctx context.Context, filter Filter, yield func(Grant) error, trouble func(error)) error {
	wanted := []Kind{Paid, Given}
	if filter.Unfitting {
		wanted = []Kind{Mismatch}
	}
	for _, kind := range wanted {
		err := a.walk(ctx, kind, func(record stored) error {
			fact, err := decode(record.raw, kind)
			if err != nil {
				trouble(fmt.Errorf("%s: %w", record.key, err))
				return nil
			}
			if !filter.wants(fact) {
				return nil
			}
			grant, err := a.conclusion(ctx, fact)
			switch {
			case errors.Is(err, ErrGarbled), errors.Is(err, ErrNotPaid):
				trouble(fmt.Errorf("%s: %w", record.key, err))
				return nil
			case err != nil:
				return err
			}
			return yield(grant)
		})
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// conclusion is the grant of a payment, also of one that extends another purchase or
// opened nothing.
func (a *Archive) conclusion(ctx context.Context, fact Fact) (Grant, error) {
	if fact.Kind == Mismatch {
		return Grant{Fact: fact, ClosedFor: Mismatch}, nil
	}
	part, isEventful, err := a.alone(ctx, fact.Session)
	if err != nil || part.ClosedFor != "" || !isEventful && fact.Terms.Extends == "" {
		return part, err // a refund is of one payment
	}
	grant, err := a.Grant(ctx, fact.Session)
	grant.Fact = fact
	return grant, err
}

// SessionOf finds the session that a payment paid, or ErrNotPaid.
func (a *Archive) SessionOf(ctx context.Context, payment string) (string, error) {
	linked, err := a.get(ctx, link, payment)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNotPaid
	}
	return linked.Session, err
}

// Dossier is all that the ledger knows about one purchase.
type Dossier struct {
	Grant             // of the whole purchase
	Parts     []Grant // its payments by themselves: the first one and those that extend it
	Events    []Fact  // refunds and disputes of any of them
	Decisions []Fact  // of the operator, in order
	Devices   []Fact  // on which it is used, but for the one that paid
	Fetches   int     // how often it was fetched
	Claimed   *Fact   // by whom it was claimed; "origin" is the browser that paid
}

// maxPlaces bounds the places that are looked at; no purchase has more.
const maxPlaces = 1000

// Dossier collects what is known about the purchase of a session. The error is
// ErrNotPaid, wraps ErrGarbled, or says why storage could not tell.
func (a *Archive) Dossier(ctx context.Context, session string) (Dossier, error) {
	whole, err := a.WholeOf(ctx, session)
	if err != nil {
		return Dossier{}, err
	}
	grant, err := a.Grant(ctx, whole)
	if err != nil {
		return Dossier{}, err
	}
	file := Dossier{Grant: grant}
	others, err := a.extending(ctx, grant.Session)
	if err != nil {
		return Dossier{}, err
	}
	for _, each := range append([]string{grant.Session}, others...) {
		if err := a.collect(ctx, &file, each); err != nil {
			return Dossier{}, err
		}
	}
	if file.Decisions, err = a.decisions(ctx, grant.Session); err != nil {
		return Dossier{}, err
	}
	return file, a.collectPlaces(ctx, &file)
}

// collect adds one payment of a purchase, with what became of it.
func (a *Archive) collect(ctx context.Context, file *Dossier, session string) error {
	part, _, err := a.alone(ctx, session)
	if errors.Is(err, ErrNotPaid) || errors.Is(err, ErrGarbled) {
		return nil
	}
	if err != nil {
		return err
	}
	file.Parts = append(file.Parts, part)
	events, err := a.events(ctx, part.Fact)
	file.Events = append(file.Events, events...)
	return err
}

// events lists what became of a payment, each kind once.
func (a *Archive) events(ctx context.Context, paid Fact) ([]Fact, error) {
	known := make(map[Kind]Fact)
	for _, id := range []string{paid.Session, paid.Payment} {
		if id == "" {
			continue
		}
		outcomes, _, err := a.outcomes(ctx, id)
		if err != nil {
			return nil, err
		}
		for kind, fact := range outcomes {
			if first, ok := known[kind]; !ok || fact.At.Before(first.At) {
				known[kind] = fact
			}
		}
	}
	var events []Fact
	for _, kind := range []Kind{Refunded, Disputed, DisputeWon, DisputeLost} {
		if fact, ok := known[kind]; ok {
			events = append(events, fact)
		}
	}
	return events, nil
}

func (a *Archive) collectPlaces(ctx context.Context, file *Dossier) error {
	var err error
	if file.Devices, err = a.places(ctx, Device, file.Session); err != nil {
		return err
	}
	fetches, err := a.places(ctx, Fetch, file.Session)
	if err != nil {
		return err
	}
	file.Fetches = len(fetches)
	claimed, err := a.places(ctx, Claimed, file.Session)
	if len(claimed) > 0 {
		file.Claimed = &claimed[0]
	}
	return err
}

// places lists those of a purchase that are taken.
func (a *Archive) places(ctx context.Context, kind Kind, session string) ([]Fact, error) {
	var taken []Fact
	for slot := 1; slot <= maxPlaces; slot++ {
		f, err := a.get(ctx, kind, placeID(session, slot))
		switch {
		case err == nil:
			taken = append(taken, f)
		case errors.Is(err, fs.ErrNotExist):
			return taken, nil
		case !errors.Is(err, ErrGarbled):
			return nil, err
		}
	}
	return taken, nil
}
