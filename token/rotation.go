package token

import (
	"context"
	"slices"
	"time"
)

// keepFor is how long a key is kept after another one has taken its place: until
// everything that it can have signed has ended, whatever that was, and some time more
// for what is asked after its end and for nodes that were late to hear of the other.
const keepFor = LongestLife + Lapse

// Rotate adds a key of the algorithm, which takes over once every node has read it, and
// returns its id. Keys that it replaces go on verifying. Like Ensure it may wait for the
// storage's lock.
func (k *Keyring) Rotate(ctx context.Context, storage Storage, algorithm string) (kid string, err error) {
	err = k.change(ctx, storage, func(record *keyringRecord) (changed bool, err error) {
		kid = record.add(algorithm, k.now()).ID
		return true, nil
	})
	if err != nil {
		return "", err
	}
	return kid, nil
}

// Remove takes a key away that somebody else has got hold of: whatever it has signed is
// void, here at once, on other nodes when they read the keys next (RefreshEvery). An
// older key signs in its place, which all nodes know. Where there is none, a waiting or a
// new key of the algorithm signs at once, and its id is returned: other nodes refuse what
// it signs until they have read it.
//
// A node on which a key is removed that another node has removed already forgets it at
// once. The error wraps ErrUnknownKey. Like Ensure, Remove may wait for
// the storage's lock.
func (k *Keyring) Remove(ctx context.Context, storage Storage, kid, algorithm string) (replacement string, err error) {
	known := k.Knows(kid)
	err = k.change(ctx, storage, func(record *keyringRecord) (changed bool, err error) {
		at := slices.IndexFunc(record.Keys, func(stored keyRecord) bool { return stored.ID == kid })
		switch {
		case at < 0 && len(record.Keys) == 0, at < 0 && !known:
			return false, ErrUnknownKey
		case at < 0:
			return false, nil
		}
		record.Keys = slices.Delete(record.Keys, at, at+1)
		replacement = record.replace(algorithm, k.now())
		return true, nil
	})
	if err != nil {
		return "", err
	}
	return replacement, nil
}

// replace makes sure that a key may sign now, and that there is one of the algorithm. It
// returns the id of the one that now signs before every node knows it.
func (r *keyringRecord) replace(algorithm string, now time.Time) string {
	if slices.ContainsFunc(r.Keys, func(stored keyRecord) bool { return !stored.SignFrom.After(now) }) {
		if !r.has(algorithm) {
			r.add(algorithm, now)
		}
		return ""
	}
	at := slices.IndexFunc(r.Keys, func(stored keyRecord) bool { return stored.Algorithm == algorithm })
	if at < 0 {
		r.add(algorithm, now)
		at = len(r.Keys) - 1
	}
	r.Keys[at].SignFrom = now.UTC().Truncate(time.Second)
	return r.Keys[at].ID
}

// prune drops the keys of which nothing is left that has not ended.
func (r *keyringRecord) prune(now time.Time) {
	kept := make([]keyRecord, 0, len(r.Keys))
	for i, stored := range r.Keys {
		if until := r.keepUntil(i); until.IsZero() || now.Before(until) {
			kept = append(kept, stored)
		}
	}
	r.Keys = kept
}

// keepUntil is when everything has ended that the key can have signed; zero while it may
// still sign. It signs no longer once a later key of its algorithm does: one of another
// algorithm does not count, since the configuration may go back.
func (r *keyringRecord) keepUntil(at int) time.Time {
	var replaced time.Time
	for _, later := range r.Keys[at+1:] {
		if later.Algorithm == r.Keys[at].Algorithm && (replaced.IsZero() || later.SignFrom.Before(replaced)) {
			replaced = later.SignFrom
		}
	}
	if replaced.IsZero() {
		return time.Time{}
	}
	return replaced.Add(keepFor)
}

// newest returns the newest key of any algorithm that may sign.
func (s *keys) newest(now time.Time) *key {
	best := s.ordered[0]
	for _, candidate := range s.ordered {
		if !candidate.signFrom.After(now) {
			best = candidate
		}
	}
	return best
}

// KeyInfo is what may be told about a key. It never holds a secret.
type KeyInfo struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	// Created is when the key was made.
	Created time.Time `json:"created,omitzero"`
	// SignsFrom is when the key may sign; zero for an owner's own.
	SignsFrom time.Time `json:"signs_from,omitzero"`
	// SignsAccess says that the key signs new access tokens now.
	SignsAccess bool `json:"signs_access"`
	// SignsOther says that the key signs all else now: cookies of checkouts under way,
	// links for other devices, private addresses.
	SignsOther bool `json:"signs_other"`
	// KeepUntil is when all has ended that the key can have signed, so that a rotation
	// after it drops the key; zero while the key may sign.
	KeepUntil time.Time `json:"keep_until,omitzero"`
}

// List describes the keys, oldest first.
// The algorithm is the one that the configuration wants.
func (k *Keyring) List(algorithm string) []KeyInfo {
	list := []KeyInfo{}
	snap := k.snap.Load()
	if snap == nil {
		return list
	}
	access, other := snap.signer(algorithm, k.now()), snap.newest(k.now())
	for _, stored := range snap.ordered {
		list = append(list, KeyInfo{
			ID: stored.id, Algorithm: stored.algorithm, Created: stored.created, SignsFrom: stored.signFrom,
			SignsAccess: stored == access, SignsOther: stored == other, KeepUntil: stored.keepUntil,
		})
	}
	return list
}
