package main

import (
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
// storage stores the same records.
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
	t := &table{
		title: "Webhooks",
		note: fmt.Sprintf("Payments accepted and stored, against certmagic.FileStorage alone storing the %d records (%d bytes) that one payment leaves, on the same file system.",
			len(records), total(records)),
		head: []string{"at once", "rate"},
	}
	for _, atOnce := range []int{1, connections} {
		b.progress("webhook: %d at once", atOnce)
		figure, err := b.rates(ctx, s, sold, records, atOnce)
		if err != nil {
			return nil, err
		}
		t.add(fmt.Sprint(atOnce), figure.String())
	}
	return []*table{t}, nil
}

// record is what a payment leaves in storage.
type record struct {
	folder string // of the key; what follows is a hash
	value  []byte
}

func total(records []record) (bytes int) {
	for _, r := range records {
		bytes += len(r.value)
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
	if !slices.ContainsFunc(left, func(r record) bool { return strings.HasSuffix(r.folder, "/paid") }) {
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
			if strings.HasPrefix(key, kind.folder+"/") {
				records++
			}
		}
	}
	return records, err
}

// delivery is ever new payments of the same, each signed.
func (s *site) delivery(sold map[string]string) request {
	return request{func(buffer []byte) []byte {
		body := payment(sold)
		mac := hmac.New(sha256.New, []byte(webhookSecret))
		mac.Write(body)
		buffer = append(buffer, "POST /webhooks/axra HTTP/1.1\r\nHost: "+s.host+"\r\nContent-Type: application/json\r\n"+contentLength(len(body))+
			"\r\nX-Axra-Signature: "+hex.EncodeToString(mac.Sum(nil))+"\r\n\r\n"...)
		return append(buffer, body...)
	}, http.StatusOK, -1}
}

func payment(sold map[string]string) []byte {
	metadata := maps.Clone(sold)
	metadata["sessionId"] = "cs_" + rand.Text() // each is a purchase of its own
	raw, err := json.Marshal(map[string]any{
		"event": "payment.completed", "timestamp": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{"paymentId": "bpay_" + rand.Text(), "amount": json.Number("5.00"), "currency": "USD", "metadata": metadata},
	})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return raw
}

func (b *bench) rates(ctx context.Context, s *site, sold map[string]string, records []record, atOnce int) (ratio, error) {
	l, err := newLoad(s.address, atOnce, s.delivery(sold))
	if err != nil {
		return ratio{}, err
	}
	defer l.close()
	folder, err := os.MkdirTemp(b.folder, "storage-")
	if err != nil {
		return ratio{}, err
	}
	bare := &certmagic.FileStorage{Path: folder}
	if _, err := l.run(ctx, b.warmUp); err != nil {
		return ratio{}, err
	}
	if _, err := storeFor(ctx, b.warmUp, bare, records, atOnce); err != nil {
		return ratio{}, err
	}
	before, err := count(s.storage, records)
	if err != nil {
		return ratio{}, err
	}
	payments := 0
	values := make([]float64, b.pairs)
	for i := range values {
		var accepted run
		var stored float64
		err := inTurn(i, []func() error{
			func() (err error) { accepted, err = l.run(ctx, b.each); return err },
			func() (err error) { stored, err = storeFor(ctx, b.each, bare, records, atOnce); return err },
		})
		if err != nil {
			return ratio{}, err
		}
		payments += accepted.requests
		values[i] = accepted.rate() / stored
	}
	after, err := count(s.storage, records)
	if err != nil {
		return ratio{}, err
	}
	if fresh := after - before; fresh != payments*len(records) {
		return ratio{}, fmt.Errorf("%d payments were accepted, and %d records stored where each should leave %d", payments, fresh, len(records))
	}
	return newRatio(values)
}

// storeFor stores the records of ever new payments, and returns how many payments a
// second that was.
func storeFor(ctx context.Context, length time.Duration, storage certmagic.Storage, records []record, atOnce int) (float64, error) {
	began := time.Now()
	var stored atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range atOnce {
		group.Go(func() error {
			for time.Since(began) < length {
				for _, r := range records {
					if err := storage.Store(ctx, r.newKey(), r.value); err != nil {
						return err
					}
				}
				stored.Add(1)
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return float64(stored.Load()) / time.Since(began).Seconds(), err
}

// newKey has the form of the ledger's keys.
func (r record) newKey() string {
	var hash [sha256.Size]byte
	rand.Read(hash[:])
	name := hex.EncodeToString(hash[:])
	return r.folder + "/" + name[:2] + "/" + name[2:]
}
