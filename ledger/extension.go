package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"time"
)

// Extension is a place of a purchase that is held by a session which extends it.
const Extension Kind = "extension"

// MaxExtensions bounds how often a purchase is extended: each of them costs four
// reads whenever the purchase is looked up.
const MaxExtensions = 24

// extensionPlaces is how many count nevertheless: checkouts that were open at the same
// time may all be paid.
const extensionPlaces = 4 * MaxExtensions

// errStandsAlone: a purchase has all the extensions that it can have; one more is a
// purchase of its own.
var errStandsAlone = errors.New("the purchase cannot be extended further")

// Extend makes a paid session a part of the purchase of another one. Record does so
// by itself. Called again it changes nothing, unless another node has overwritten the
// place meanwhile, which it heals.
func (l *Ledger) Extend(ctx context.Context, purchase, by string, at time.Time) error {
	if purchase == by {
		return nil
	}
	_, known, err := l.find(ctx, Extension, purchase, extensionPlaces, by)
	if err != nil {
		return fmt.Errorf("extending a purchase: %w", err)
	}
	if !known {
		defer l.tell(ShardOf(purchase)) // also after an error: it may be stored
	}
	if err := l.foretell(ctx, purchase, !known); err != nil || known {
		return err
	}
	if _, err := l.Take(ctx, Extension, purchase, extensionPlaces, by, at); err != nil && !errors.Is(err, ErrNoneLeft) { // it stands alone then, see Grant
		return fmt.Errorf("extending a purchase: %w", err)
	}
	return nil
}

// Parts lists the paid sessions of a purchase that are not closed, in the order in which
// they were paid.
func (l *Ledger) Parts(ctx context.Context, session string) ([]Grant, error) {
	sessions, err := l.extending(ctx, session)
	if err != nil {
		return nil, err
	}
	var parts []Grant
	for _, each := range append([]string{session}, sessions...) {
		part, _, err := l.alone(ctx, each)
		switch {
		case errors.Is(err, ErrNotPaid), errors.Is(err, ErrGarbled):
		case err != nil:
			return nil, err
		case part.ClosedFor == "":
			parts = append(parts, part)
		}
	}
	sortByTime(parts)
	return parts, nil
}

// Extensions counts how often a purchase has been extended.
func (l *Ledger) Extensions(ctx context.Context, session string) (int, error) {
	return l.Taken(ctx, Extension, session, MaxExtensions)
}

// purchase draws the conclusion about a session and all that extends it, also by
// another session whose place may have been lost.
//
// Each part adds its time to the end of those before, or to its own payment where
// that is later. What was refunded adds none, so that the others move up; a won
// dispute gives it back. The purchase is closed when all of its parts are, or when its
// operator has revoked it.
func (l *Ledger) purchase(ctx context.Context, session, also string) (Grant, error) {
	whole, isEventful, err := l.alone(ctx, session)
	if err != nil || !isEventful && also == "" {
		return whole, err
	}
	var revoked bool
	if isEventful {
		if revoked, err = l.isRevoked(ctx, session); err != nil {
			return Grant{}, err
		}
	}
	parts := []Grant{whole}
	sessions, err := l.extending(ctx, session)
	if err != nil {
		return Grant{}, err
	}
	if also != "" && !slices.Contains(sessions, also) {
		if len(sessions) >= extensionPlaces {
			return Grant{}, errStandsAlone
		}
		sessions = append(sessions, also)
	}
	for _, extension := range sessions {
		part, _, err := l.alone(ctx, extension)
		switch {
		case errors.Is(err, ErrNotPaid), errors.Is(err, ErrGarbled):
			continue // adds nothing, until the event comes again
		case err != nil:
			return Grant{}, err
		case part.isPartOf(whole.Fact):
			parts = append(parts, part)
		}
	}
	whole = together(parts)
	if revoked && whole.ClosedFor == "" {
		whole.ClosedFor = Revoked // whatever its parts are
	}
	return whole, nil
}

// extending lists the sessions that extend a purchase.
func (l *Ledger) extending(ctx context.Context, session string) ([]string, error) {
	var found []string
	for slot := 1; slot <= extensionPlaces; slot++ {
		extension, err := l.holder(ctx, Extension, session, slot)
		switch {
		case err == nil && slices.Contains(found, extension):
			// Nodes that took places at the same moment may have left it two.
		case err == nil:
			found = append(found, extension)
		case errors.Is(err, fs.ErrNotExist):
			return found, nil
		case !errors.Is(err, ErrGarbled):
			return nil, err
		}
	}
	return found, nil
}

// isPartOf: what was sold as an extension extends the very thing that was sold.
func (g Grant) isPartOf(extended Fact) bool {
	sold, before := g.Terms, extended.Terms
	return sold.Extends == extended.Session && sold.Site == before.Site && sold.Pass == before.Pass && sold.Resource == before.Resource
}

// together is the first of the parts, with the time of all that are open.
func together(parts []Grant) Grant {
	whole := parts[0]
	sortByTime(parts[1:])
	parts = slices.DeleteFunc(parts, func(part Grant) bool { return part.ClosedFor != "" })
	if len(parts) == 0 {
		return whole
	}
	var end time.Time // of the parts so far
	for _, part := range parts {
		switch {
		case part.Until.IsZero():
			whole.Until, whole.ClosedFor = time.Time{}, ""
			return whole
		case part.Session == whole.Session:
			end = part.Until
		case end.After(part.At):
			end = part.Terms.Access.Until(end)
		default:
			end = part.Terms.Access.Until(part.At)
		}
	}
	whole.Until, whole.ClosedFor = end, ""
	return whole
}

// sortByTime does with sort, as all that is no hot path: for each type of elements
// slices.SortFunc would add 15 to 40 kB to the binary.
func sortByTime(parts []Grant) {
	sort.SliceStable(parts, func(i, j int) bool { return parts[i].At.Before(parts[j].At) })
}
