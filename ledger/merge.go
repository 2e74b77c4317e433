package ledger

import (
	"context"
	"errors"
	"fmt"
)

// merger stores imported records in a ledger that may have gone on by itself since they
// were exported, or before. Records that name what they are about are the same on both
// sides; numbered places may be held by others here.
type merger struct {
	*Archive
	done Transferred
	// decisions are those of the export by session and key, until all have been read.
	decisions map[string]map[string]Fact
}

// take stores one record.
func (m *merger) take(ctx context.Context, key string, fact Fact) error {
	if fact.Kind == Decision {
		if m.decisions[fact.Session] == nil {
			m.decisions[fact.Session] = make(map[string]Fact)
		}
		m.decisions[fact.Session][key] = fact
		return nil
	}
	if err := m.decide(ctx); err != nil { // an export has them all in one place
		return err
	}
	fresh, err := m.placeRecord(ctx, key, fact)
	if err != nil {
		return err
	}
	if fresh && fact.Kind == eventful {
		// By it readers find what was imported before it, and what is to come.
		if err := m.announceKey(ctx, key); err != nil {
			return err
		}
	}
	if fresh || !fact.Kind.numbered() {
		m.count(fresh)
		return nil
	}
	return m.takePlace(ctx, key, fact)
}

func (m *merger) count(fresh bool) {
	if fresh {
		m.done.Records++
	} else {
		m.done.Known++
	}
}

// takePlace settles what happens to a place that is held here already. An extension and a
// fetch count in whatever place they have. A device and a claim are bound to theirs by
// tokens: whoever has the place here keeps it.
func (m *merger) takePlace(ctx context.Context, key string, fact Fact) error {
	raw, err := m.storage.load(ctx, key)
	if err != nil {
		return fmt.Errorf("reading a place: %w", err)
	}
	there, err := decode(raw, fact.Kind)
	switch {
	case err != nil:
		return err
	case there.Holder == fact.Holder:
		m.done.Known++
		return nil
	case fact.Kind != Extension && fact.Kind != Fetch:
		m.done.Conflicts++
		return nil
	}
	limit := maxPlaces
	if fact.Kind == Extension {
		limit = extensionPlaces
	}
	_, found, err := m.find(ctx, fact.Kind, fact.Session, limit, fact.Holder)
	if err != nil {
		return err
	}
	if !found {
		_, err = m.Take(ctx, fact.Kind, fact.Session, limit, fact.Holder, fact.At)
	}
	if errors.Is(err, ErrNoneLeft) {
		m.done.Conflicts++
		return nil
	}
	m.count(!found)
	return err
}

// decide stores the decisions that have been read. Where both sides have decided for
// themselves, the latest decision counts.
func (m *merger) decide(ctx context.Context) error {
	for session, records := range m.decisions {
		theirs := inOrder(session, records)
		ours, err := m.Archive.decisions(ctx, session)
		if err != nil {
			return err
		}
		same := 0
		for same < min(len(ours), len(theirs)) && sameDecision(ours[same], theirs[same]) {
			same++
		}
		m.done.Known += same
		switch {
		case same == len(theirs):
		case same == len(ours):
			for slot, fact := range theirs[same:] {
				if _, err := m.placeRecord(ctx, key(Decision, placeID(session, same+slot+1)), fact); err != nil {
					return err
				}
				m.done.Records++
			}
		default:
			m.done.Conflicts += len(theirs) - same
			if err := m.settle(ctx, ours[len(ours)-1], theirs[len(theirs)-1]); err != nil {
				return err
			}
		}
	}
	clear(m.decisions)
	return nil
}

// settle lets the later of two decisions count; of two at once, the one that shuts.
func (m *merger) settle(ctx context.Context, ours, theirs Fact) error {
	later := theirs.At.After(ours.At) || theirs.At.Equal(ours.At) && theirs.Holder == string(Revoked)
	if !later || theirs.Holder == ours.Holder {
		return nil
	}
	return m.Decide(ctx, theirs.Session, Kind(theirs.Holder), theirs.Note, theirs.At)
}

// inOrder sorts the decisions of a session by their places.
func inOrder(session string, records map[string]Fact) []Fact {
	var ordered []Fact
	for slot := 1; slot <= maxDecisions && len(ordered) < len(records); slot++ {
		if fact, ok := records[key(Decision, placeID(session, slot))]; ok {
			ordered = append(ordered, fact)
		}
	}
	return ordered
}

func sameDecision(a, b Fact) bool {
	return a.Holder == b.Holder && a.At.Equal(b.At) && a.Note == b.Note
}

// standsAt reports whether a numbered record may stand under a key.
func standsAt(f Fact, under string) bool {
	for slot := range maxPlaces {
		if key(f.Kind, placeID(f.Session, slot+1)) == under {
			return true
		}
	}
	return false
}
