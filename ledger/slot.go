package ledger

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"strconv"
	"time"
	"unicode/utf8"
)

// The kinds of numbered places that a purchase has.
const (
	Device  Kind = "device" // a device on which it is used
	Fetch   Kind = "fetch"  // a time that it is fetched
	Claimed Kind = "claim"  // a browser that took it without having started the checkout
)

func (k Kind) numbered() bool {
	return k == Device || k == Fetch || k == Claimed || k == Extension || k == Decision
}

// ErrNoneLeft: others have all the places.
var ErrNoneLeft = errors.New("no place is left")

const stripeCount = 64

// stripes let one taker at a time look for a place of a purchase. They belong to
// the process and not to a Ledger: a reload makes a second one on the same
// storage while requests to the first are still under way. Channels, because
// waiting for a mutex does not end with a context.
var (
	stripes = func() (all [stripeCount]chan struct{}) {
		for i := range all {
			all[i] = make(chan struct{}, 1)
		}
		return all
	}()
	stripeSeed = maphash.MakeSeed()
)

func stripe(kind Kind, session string) chan struct{} {
	return stripes[maphash.String(stripeSeed, string(kind)+session)%stripeCount]
}

// placeID is unambiguous though a session may contain "#": a number does not.
func placeID(session string, slot int) string { return session + "#" + strconv.Itoa(slot) }

// Take gives the holder the place that it has already, else the first free one of
// 1 to limit, in which it is noted with the time. The error is ErrNoneLeft or says
// why storage could not tell; after any other error than ErrNoneLeft the place may
// have been taken all the same, and the same holder finds it when it asks again.
//
// Storage offers no compare-and-swap. A place is written and read back, and who
// reads back another holder tries the next one. Within a process that is exact. Of
// two nodes that take a place at the same moment both may believe that they have
// it, as may one whose place is overwritten by a write that had been given up, until
// Holds tells that it has not. There is never more than one holder per place, and
// never a place beyond the limit.
//
// Places are not given back. A garbled record is a free place: it is written anew.
//
// Each place that others have costs one read.
func (l *Ledger) Take(ctx context.Context, kind Kind, session string, limit int, holder string, at time.Time) (slot int, err error) {
	if err := checkPlaces(kind, session, limit); err != nil {
		return 0, err
	}
	// JSON would keep another text than one that is not valid, and whoever came
	// with it would never be known again.
	if holder == "" || !utf8.ValidString(holder) {
		return 0, fmt.Errorf("a place of kind %q cannot be held by %.40q", kind, holder)
	}
	// A holder who has a place does not wait for those who look for one.
	slot, found, err := l.find(ctx, kind, session, limit, holder)
	switch {
	case err != nil:
		return 0, err
	case found:
		return slot, nil
	case slot > limit:
		return 0, ErrNoneLeft
	}
	turn := stripe(kind, session)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: others are being given places: %w", ErrStorageTimeout, ctx.Err())
	}
	fact := Fact{Kind: kind, Session: session, At: at, Holder: holder}
	for ; slot <= limit; slot++ {
		has, err := l.occupy(ctx, fact, slot)
		switch {
		case err != nil:
			return 0, err
		case has == holder:
			return slot, nil
		}
	}
	return 0, ErrNoneLeft
}

// find looks for the place that the holder has. Without one it answers with the
// first free place, or limit+1. Nobody is behind a place that was never taken;
// behind a garbled one there may be.
func (l *Ledger) find(ctx context.Context, kind Kind, session string, limit int, holder string) (slot int, found bool, err error) {
	free := 0
	for slot := 1; slot <= limit; slot++ {
		has, err := l.holder(ctx, kind, session, slot)
		switch {
		case err == nil && has == holder:
			return slot, true, nil
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrGarbled):
			return 0, false, err
		}
		if free == 0 {
			free = slot
		}
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if free == 0 {
		free = limit + 1
	}
	return free, false, nil
}

// occupy puts the fact in the place unless somebody has it, and says who has it.
func (l *Ledger) occupy(ctx context.Context, f Fact, slot int) (holder string, err error) {
	if _, err := l.put(ctx, f, placeID(f.Session, slot)); err != nil {
		return "", err
	}
	return l.holder(ctx, f.Kind, f.Session, slot)
}

// holder says who has the place.
func (l *Ledger) holder(ctx context.Context, kind Kind, session string, slot int) (string, error) {
	f, err := l.get(ctx, kind, placeID(session, slot))
	return f.Holder, err
}

// Taken counts the places of 1 to limit that are taken. It stops at the first that
// never was, so it costs one read more than it counts. Garbled ones are not
// counted: Take gives them away again.
func (l *Ledger) Taken(ctx context.Context, kind Kind, session string, limit int) (int, error) {
	if err := checkPlaces(kind, session, limit); err != nil {
		return 0, err
	}
	taken := 0
	for slot := 1; slot <= limit; slot++ {
		_, err := l.holder(ctx, kind, session, slot)
		switch {
		case err == nil:
			taken++
		case errors.Is(err, fs.ErrNotExist):
			return taken, nil
		case !errors.Is(err, ErrGarbled):
			return 0, err
		}
	}
	return taken, nil
}

// Holds reports whether the holder has the place, at the cost of one read. It does
// not where another has it, where nobody does, or where the record is garbled.
// Callers treat false as closed, though a replica that lags may say so about a
// place that was taken a moment ago: Take asked again by the same holder finds the
// place or heals it. An error says that storage could not tell.
func (l *Ledger) Holds(ctx context.Context, kind Kind, session string, slot int, holder string) (bool, error) {
	if !kind.numbered() {
		return false, fmt.Errorf("a purchase has no places of kind %q", kind)
	}
	if session == "" || holder == "" || slot < 1 {
		return false, nil // nobody is in a place that cannot be; no error, which some would forgive
	}
	has, err := l.holder(ctx, kind, session, slot)
	switch {
	case err == nil:
		return has == holder, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrGarbled):
		return false, nil
	default:
		return false, err
	}
}

func checkPlaces(kind Kind, session string, limit int) error {
	switch {
	case !kind.numbered():
		return fmt.Errorf("a purchase has no places of kind %q", kind)
	case session == "" || !utf8.ValidString(session):
		return fmt.Errorf("session %.40q has no places", session)
	case limit < 1:
		return fmt.Errorf("there are no places of kind %q within %d", kind, limit)
	default:
		return nil
	}
}
