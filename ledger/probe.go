package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// What a Probe may find wrong with a storage.
var (
	ErrNoAbsence  = errors.New("what is not there must be answered with fs.ErrNotExist: each visit would be an error")
	ErrNotKept    = errors.New("what was stored does not read back: payments would be refused")
	ErrNotListed  = errors.New("what was stored is not listed: reports, exports and sweeps would leave out payments")
	ErrNotDeleted = errors.New("what was deleted is still there: sweeps would free nothing")
	ErrDeletes    = errors.New("deleting one record took another one away")
)

// probeFolder holds the records of probes, which are of no kind that the ledger reads.
const probeFolder = "axra/probe"

// Probe tries what the ledger needs of a storage, on records of its own that it deletes
// again, and returns all that it finds wrong, joined: the errors above, and those of the
// storage itself. It takes some ten operations, each bounded in time. It cannot tell
// whether what was stored survives a loss of power.
func Probe(ctx context.Context, shelf Shelf) error {
	p := prober{Archive: NewArchive(shelf)}
	folder := probeFolder + "/" + rand.Text()
	one, two := folder+"/1", folder+"/2"
	defer p.clean(context.WithoutCancel(ctx), one, two)

	p.mustBeAbsent(ctx, one, ErrNoAbsence)
	p.mustKeep(ctx, one, []byte(`{"probe":1}`))
	p.mustKeep(ctx, one, []byte(`{"probe":"another, longer one"}`))
	p.mustKeep(ctx, two, []byte(`{"probe":2}`))
	p.mustList(ctx, folder, one, two)
	p.try("deleting", p.erase(ctx, one))
	p.mustBeAbsent(ctx, one, ErrNotDeleted)
	if kept, err := p.storage.load(ctx, two); err != nil || !bytes.Equal(kept, []byte(`{"probe":2}`)) {
		p.try("reading what was not deleted", ErrDeletes)
	}
	return errors.Join(p.wrong...)
}

type prober struct {
	*Archive
	wrong []error
}

func (p *prober) try(what string, err error) {
	if err != nil {
		p.wrong = append(p.wrong, fmt.Errorf("%s: %w", what, err))
	}
}

// mustBeAbsent tells an absence that is not recognized from a record that is there.
func (p *prober) mustBeAbsent(ctx context.Context, key string, fault error) {
	_, err := p.storage.load(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err == nil:
		p.try("reading", fault)
	default:
		p.try("reading", fmt.Errorf("%w (%w)", ErrNoAbsence, err))
	}
}

func (p *prober) mustKeep(ctx context.Context, key string, value []byte) {
	if err := p.storage.store(ctx, key, value); err != nil {
		p.try("storing", err)
		return
	}
	kept, err := p.storage.load(ctx, key)
	if err == nil && !bytes.Equal(kept, value) {
		err = ErrNotKept
	}
	p.try("reading back", err)
}

func (p *prober) mustList(ctx context.Context, folder string, keys ...string) {
	listed, err := p.list(ctx, folder)
	for _, key := range keys {
		if err == nil && !slices.Contains(listed, key) {
			err = ErrNotListed
		}
	}
	p.try("listing", err)
	// A kind of which there are no records yet has no folder either.
	_, err = p.list(ctx, folder+"-none")
	p.try("listing what is not there", err)
}

func (p *prober) erase(ctx context.Context, key string) error {
	_, err := p.patient.run(ctx, p.patient.writes, func(ctx context.Context) ([]byte, error) {
		return nil, p.shelf.Delete(ctx, key)
	})
	return err
}

func (p *prober) clean(ctx context.Context, keys ...string) {
	for _, key := range keys {
		if _, err := p.storage.load(ctx, key); err == nil {
			_ = p.erase(ctx, key) // it was tried before
		}
	}
}
