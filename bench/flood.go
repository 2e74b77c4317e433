package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	paidRate   = 400 // requests a second of the visitors who have paid
	paidAtOnce = 8   // their connections
)

// flooded is what visitors who have paid notice of a flood of invalid tokens, beside
// one of as many requests that no gate is asked about.
func (b *bench) flooded(ctx context.Context) ([]*table, error) {
	b.progress("flood")
	defer b.stop()
	s, err := b.openAxra(ctx, "HS256", "", "")
	if err != nil {
		return nil, err
	}
	garbage, err := b.flow(s, connections, b.flood, s.garbage())
	if err != nil {
		return nil, err
	}
	plain, err := b.flow(s, connections, b.flood, s.free(small))
	if err != nil {
		return nil, err
	}
	readers, err := b.flow(s, paidAtOnce, paidRate, s.paid(small))
	if err != nil {
		return nil, err
	}
	pairs := make([]pair, b.pairs)
	floods := make([]pair, b.pairs)
	for i := range pairs {
		err := inTurn(i, []func() error{
			func() (err error) {
				pairs[i].gate, floods[i].gate, err = b.beside(ctx, readers, garbage, s)
				return err
			},
			func() (err error) { pairs[i].bare, floods[i].bare, err = b.beside(ctx, readers, plain, s); return err },
		})
		if err != nil {
			return nil, err
		}
	}
	b.progress("flood: %.0f and %.0f requests a second at last, of %d", floods[len(floods)-1].gate.rate(), floods[len(floods)-1].bare.rate(), b.flood)
	figures, err := cells(pairs, p50, p99, throughput)
	if err != nil {
		return nil, err
	}
	ofFlood, err := cells(floods, throughput, cpuEach)
	if err != nil {
		return nil, err
	}
	t := &table{
		title: "Flood of invalid tokens",
		note:  "Ever new tokens with a wrong signature, against as many requests for a free page of the same site. CPU is that of all requests, those of the visitors included.",
		head:  []string{"", "p50", "p99", "throughput", "CPU"},
	}
	t.add("visitors who have paid", append(figures, "")...)
	t.add("the flood itself", "", "", ofFlood[0], ofFlood[1])
	return []*table{t}, nil
}

// garbage is ever new tokens of our form, each with a signature that nobody has made.
func (s *site) garbage() request {
	unsigned := s.cookie[:strings.LastIndexByte(s.cookie, '.')+1]
	head := get(s.host, premium(small), "Accept: */*")
	head = append(head[:len(head)-2], "Cookie: "+cookies(unsigned)...)
	return request{func(buffer []byte) []byte {
		var signature [32]byte
		rand.Read(signature[:])
		buffer = append(buffer, head...)
		buffer = base64.RawURLEncoding.AppendEncode(buffer, signature[:])
		return append(buffer, "\r\n\r\n"...)
	}, http.StatusPaymentRequired, -1}
}

// flow is a load at a fixed rate.
func (b *bench) flow(s *site, connections, perSecond int, r request) (*load, error) {
	l, err := newLoad(s.address, connections, r)
	if err != nil {
		return nil, err
	}
	b.onStop(l.close)
	return l.paced(perSecond), nil
}

// beside runs both at once.
func (b *bench) beside(ctx context.Context, readers, flood *load, s *site) (read, flooded run, err error) {
	before, err := cpu(s.processes)
	if err != nil {
		return read, flooded, err
	}
	group, within := errgroup.WithContext(ctx)
	group.Go(func() (err error) { read, err = readers.run(within, b.each); return err })
	group.Go(func() (err error) { flooded, err = flood.run(within, b.each); return err })
	if err := group.Wait(); err != nil {
		return read, flooded, err
	}
	after, err := cpu(s.processes)
	flooded.cpu = after - before
	return read, flooded, err
}
