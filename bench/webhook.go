package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/sync/errgroup"
)

// webhook compares how fast payments are accepted and stored with how fast the bare
// storage stores the same records, and with how fast a handler does that does nothing else.
func (b *bench) webhook(ctx context.Context) ([]*table, error) {
	defer b.stop()
	s, err := b.openAxra(ctx, "HS256", "", unlimited)
	if err != nil {
		return nil, err
	}
	_, session, err := s.api.buy(ctx, s)
	if err != nil {
		return nil, err
	}
	sold, err := metadata(session)
	if err != nil {
		return nil, err
	}
	records, err := s.recordsOf(ctx, sold)
	if err != nil {
		return nil, err
	}
	storer, err := b.openStoring(ctx, records)
	if err != nil {
		return nil, err
	}
	t := &table{
		title: "Webhooks",
		note: fmt.Sprintf("Payments accepted and stored, against certmagic.FileStorage alone storing the %d records (%d bytes) that one payment leaves, on the same file system. "+
			"Beside it a handler in a Caddy that only stores them: the rest is HTTP and the load, which have no part in the bare storage.",
			len(records), total(records)),
		head: []string{"at once", "rate", "CPU per payment", "a handler that only stores: rate", "CPU per payment", "CPU of the load per payment"},
	}
	for _, atOnce := range []int{1, connections} {
		b.progress("webhook: %d at once", atOnce)
		all, err := b.rates(ctx, s, storer, sold, records, atOnce)
		if err != nil {
			return nil, err
		}
		figures, err := all.cells()
		if err != nil {
			return nil, err
		}
		t.add(fmt.Sprint(atOnce), figures...)
	}
	return []*table{t}, nil
}

// openStoring is the site with a handler that only stores.
func (b *bench) openStoring(ctx context.Context, records []record) (*site, error) {
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(records)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.home, "records")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, err
	}
	return s, b.serve(ctx, s, "", fmt.Sprintf("\tbench_store /webhooks/axra %q", file))
}

// record is what a payment leaves in storage.
type record struct {
	Folder string // of the key; what follows is a hash
	Value  []byte
}

func total(records []record) (bytes int) {
	for _, r := range records {
		bytes += len(r.Value)
	}
	return bytes
}

// recordsOf sends one payment and finds out what it has left.
func (s *site) recordsOf(ctx context.Context, sold map[string]string) ([]record, error) {
	before, err := listed(s.storage)
	if err != nil {
		return nil, err
	}
	l, err := newLoad(s.address, 1, s.delivery(sold))
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := l.workers[0].one(l.request); err != nil {
		return nil, err
	}
	after, err := listed(s.storage)
	if err != nil {
		return nil, err
	}
	var left []record
	for key := range after {
		if before[key] {
			continue
		}
		value, err := (&certmagic.FileStorage{Path: s.storage}).Load(ctx, key)
		if err != nil {
			return nil, err
		}
		parts := strings.Split(key, "/")
		if len(parts) < 3 || len(parts[len(parts)-2]) != 2 {
			return nil, fmt.Errorf("the record %s has a key of another form than the bench knows", key)
		}
		left = append(left, record{strings.Join(parts[:len(parts)-2], "/"), value})
	}
	if !slices.ContainsFunc(left, func(r record) bool { return strings.HasSuffix(r.Folder, "/paid") }) {
		return nil, errors.New("a payment has left no record of itself")
	}
	return left, nil
}

func listed(storage string) (map[string]bool, error) {
	found := make(map[string]bool)
	return found, filepath.WalkDir(storage, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // went away meanwhile
		}
		if err != nil || entry.IsDir() {
			return err
		}
		key, err := filepath.Rel(storage, path)
		found[filepath.ToSlash(key)] = true
		return err
	})
}

// count is how many records of these kinds there are.
func count(storage string, kinds []record) (records int, err error) {
	all, err := listed(storage)
	for key := range all {
		for _, kind := range kinds {
			if strings.HasPrefix(key, kind.Folder+"/") {
				records++
			}
		}
	}
	return records, err
}

// delivery is ever new payments of the same, each signed. They are made from one sample: a
// load that takes long to make them would be measured in place of the webhook.
func (s *site) delivery(sold map[string]string) request {
	sampleSession, samplePayment := rand.Text(), rand.Text()
	sample := payment(sold, sampleSession, samplePayment)
	sessionAt, paymentAt := bytes.Index(sample, []byte(sampleSession)), bytes.Index(sample, []byte(samplePayment))
	head := []byte("POST /webhooks/axra HTTP/1.1\r\nHost: " + s.host + "\r\nContent-Type: application/json\r\n" + contentLength(len(sample)) + "\r\nX-Axra-Signature: ")
	signatureAt := len(head)
	head = append(head, strings.Repeat("0", hex.EncodedLen(sha256.Size))+"\r\n\r\n"...)
	return request{func(buffer []byte) []byte {
		begin := len(buffer)
		buffer = append(append(buffer, head...), sample...)
		all := buffer[begin:]
		body := all[len(head):]
		copy(body[sessionAt:], rand.Text()) // each is a purchase of its own
		copy(body[paymentAt:], rand.Text())
		mac := hmac.New(sha256.New, []byte(webhookSecret))
		mac.Write(body)
		hex.Encode(all[signatureAt:], mac.Sum(nil))
		return buffer
	}, http.StatusOK, -1}
}

func payment(sold map[string]string, session, id string) []byte {
	metadata := maps.Clone(sold)
	metadata["sessionId"] = "cs_" + session
	raw, err := json.Marshal(map[string]any{
		"event": "payment.completed", "timestamp": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{"paymentId": "bpay_" + id, "amount": json.Number("5.00"), "currency": "USD", "metadata": metadata},
	})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return raw
}

// taking is one round of the comparison. cpu of the two first is that of their servers.
type taking struct {
	webhook, handler, bare run
	load                   time.Duration // processor time of the load on the webhook
}

type takings []taking

func (all takings) cells() ([]string, error) {
	var cells []string
	for _, figure := range []func(taking) float64{
		func(t taking) float64 { return t.webhook.rate() / t.bare.rate() },
		func(t taking) float64 { return t.webhook.cpuEach() / t.bare.cpuEach() },
		func(t taking) float64 { return t.handler.rate() / t.bare.rate() },
		func(t taking) float64 { return t.handler.cpuEach() / t.bare.cpuEach() },
		func(t taking) float64 {
			return t.load.Seconds() / float64(t.webhook.requests) / t.bare.cpuEach()
		},
	} {
		r, err := ratios(all, figure)
		if err != nil {
			return nil, err
		}
		cells = append(cells, r.String())
	}
	return cells, nil
}

func (b *bench) rates(ctx context.Context, s, storer *site, sold map[string]string, records []record, atOnce int) (takings, error) {
	sides := make([]contender, 2)
	for i, side := range []*site{s, storer} {
		l, err := newLoad(side.address, atOnce, side.delivery(sold))
		if err != nil {
			return nil, err
		}
		b.onStop(l.close)
		sides[i] = contender{l, side.processes}
	}
	folder, err := os.MkdirTemp(b.folder, "storage-")
	if err != nil {
		return nil, err
	}
	bare := &certmagic.FileStorage{Path: folder}
	round := func(i int, length time.Duration) (t taking, err error) {
		return t, inTurn(i, []func() error{
			func() (err error) {
				t.load, err = cpuOfThis(func() (err error) { t.webhook, err = sides[0].run(ctx, length); return err })
				return err
			},
			func() (err error) { t.handler, err = sides[1].run(ctx, length); return err },
			func() (err error) {
				t.bare.cpu, err = cpuOfThis(func() (err error) {
					t.bare.requests, t.bare.took, err = storeFor(ctx, length, bare, records, atOnce)
					return err
				})
				return err
			},
		})
	}
	if _, err := round(0, b.warmUp); err != nil {
		return nil, err
	}
	before, err := count(s.storage, records)
	if err != nil {
		return nil, err
	}
	payments := 0
	all := make(takings, b.pairs)
	for i := range all {
		if all[i], err = round(i, b.each); err != nil {
			return nil, err
		}
		payments += all[i].webhook.requests
	}
	after, err := count(s.storage, records)
	if err != nil {
		return nil, err
	}
	if fresh := after - before; fresh != payments*len(records) {
		return nil, fmt.Errorf("%d payments were accepted, and %d records stored where each should leave %d", payments, fresh, len(records))
	}
	return all, nil
}

// cpuOfThis is the processor time that this process has used meanwhile.
func cpuOfThis(do func() error) (time.Duration, error) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := cpuOf(os.Getpid())
	return after - before, err
}

// storeFor stores the records of ever new payments, and returns how many payments that
// was, in what time.
func storeFor(ctx context.Context, length time.Duration, storage certmagic.Storage, records []record, atOnce int) (payments int, took time.Duration, err error) {
	began := time.Now()
	var stored atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range atOnce {
		group.Go(func() error {
			for time.Since(began) < length {
				if err := storeAll(ctx, storage, records); err != nil {
					return err
				}
				stored.Add(1)
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	return int(stored.Load()), time.Since(began), err
}

// storeAll stores the records of one payment, one after the other.
func storeAll(ctx context.Context, storage certmagic.Storage, records []record) error {
	for _, r := range records {
		if err := storage.Store(ctx, r.newKey(), r.Value); err != nil {
			return err
		}
	}
	return nil
}

// newKey has the form of the ledger's keys.
func (r record) newKey() string {
	var hash [sha256.Size]byte
	rand.Read(hash[:])
	name := hex.EncodeToString(hash[:])
	return r.Folder + "/" + name[:2] + "/" + name[2:]
}
