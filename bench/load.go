package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"
)

const (
	connections  = 32
	answerWithin = 30 * time.Second
	maxAnswer    = 1 << 20 // bytes
)

// request is what a load sends: the bytes of the next request, appended to a buffer
// that is used again, and what the answer must be.
type request struct {
	next   func(buffer []byte) []byte
	status int
	length int // of the body in bytes; -1: any
}

// always sends the same bytes.
func always(raw []byte, status, length int) request {
	return request{func(buffer []byte) []byte { return append(buffer, raw...) }, status, length}
}

// get builds the bytes of a GET request.
func get(host, path string, header ...string) []byte {
	raw := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
	for _, line := range header {
		raw += line + "\r\n"
	}
	return []byte(raw + "\r\n")
}

// run is what one run of a load has measured.
type run struct {
	requests  int
	took      time.Duration
	cpu       time.Duration // of the processes that are measured
	latencies *hdrhistogram.Histogram
}

func (r run) rate() float64 { return float64(r.requests) / r.took.Seconds() }

// cpuEach is the processor time of one request in seconds.
func (r run) cpuEach() float64 { return r.cpu.Seconds() / float64(max(1, r.requests)) }

// quantile is a latency in seconds; q is from 0 to 100.
func (r run) quantile(q float64) float64 {
	return time.Duration(r.latencies.ValueAtQuantile(q)).Seconds()
}

// load sends requests to a server over keep-alive connections, each of which waits for
// its answer before the next.
type load struct {
	request request
	workers []*worker
	pause   time.Duration // between the beginnings of two requests of one connection; 0: none
}

type worker struct {
	conn      net.Conn
	reader    *bufio.Reader
	buffer    []byte
	answer    fasthttp.Response
	latencies *hdrhistogram.Histogram // of the present run
}

// newLoad opens the connections.
func newLoad(address string, connections int, request request) (*load, error) {
	l := &load{request: request}
	for range connections {
		conn, err := net.DialTimeout("tcp", address, answerWithin)
		if err != nil {
			l.close()
			return nil, err
		}
		l.workers = append(l.workers, newWorker(conn))
	}
	return l, nil
}

func newWorker(conn net.Conn) *worker {
	w := &worker{conn: conn, reader: bufio.NewReaderSize(conn, 16<<10), latencies: newHistogram()}
	w.answer.Header.DisableNormalizing()
	return w
}

func (l *load) close() {
	for _, w := range l.workers {
		_ = w.conn.Close() // nothing is lost
	}
}

// paced spreads so many requests a second over the connections.
func (l *load) paced(perSecond int) *load {
	l.pause = time.Second * time.Duration(len(l.workers)) / time.Duration(perSecond)
	return l
}

// newHistogram is of latencies up to answerWithin, in nanoseconds, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1000, int64(answerWithin), 3)
}

// run sends for so long. A wrong answer is an error.
func (l *load) run(ctx context.Context, length time.Duration) (run, error) {
	began := time.Now()
	end := began.Add(length)
	group, ctx := errgroup.WithContext(ctx)
	for i, w := range l.workers {
		w.latencies.Reset()
		// Not all at once, where they are paced.
		first := began.Add(l.pause * time.Duration(i) / time.Duration(len(l.workers)))
		group.Go(func() error { return w.send(ctx, l, first, end) })
	}
	if err := group.Wait(); err != nil {
		return run{}, err
	}
	measured := run{took: time.Since(began), latencies: newHistogram()}
	for _, w := range l.workers {
		measured.latencies.Merge(w.latencies)
	}
	measured.requests = int(measured.latencies.TotalCount())
	if measured.requests == 0 {
		return run{}, errors.New("no request was answered in time")
	}
	return measured, nil
}

// send sends one request after the other until the end.
func (w *worker) send(ctx context.Context, l *load, at, end time.Time) error {
	if err := w.conn.SetDeadline(end.Add(answerWithin)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetDeadline(time.Now()) })
	defer stop()
	for at.Before(end) {
		if l.pause > 0 {
			time.Sleep(time.Until(at))
		}
		began := time.Now()
		if err := w.one(l.request); err != nil {
			return errors.Join(err, ctx.Err())
		}
		now := time.Now()
		if err := w.latencies.RecordValue(max(1000, int64(now.Sub(began)))); err != nil {
			return fmt.Errorf("an answer after %s: %w", now.Sub(began), err)
		}
		if at = now; l.pause > 0 {
			at = began.Add(l.pause)
		}
	}
	return nil
}

func (w *worker) one(r request) error {
	w.buffer = r.next(w.buffer[:0])
	if _, err := w.conn.Write(w.buffer); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	if err := w.answer.ReadLimitBody(w.reader, maxAnswer); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	status, length := w.answer.StatusCode(), len(w.answer.Body())
	if status != r.status || r.length >= 0 && length != r.length {
		return fmt.Errorf("an answer is %d with %d bytes where it should be %d with %d: %.300q", status, length, r.status, r.length, w.answer.Body())
	}
	return nil
}

// anyOf sends one of many cookies by chance, so many times in a row.
func anyOf(host, path string, cookies []string, inARow, status, length int, header ...string) request {
	var sent atomic.Int64
	random := maphash.MakeSeed()
	head := get(host, path, header...)
	head = head[:len(head)-2]
	return request{func(buffer []byte) []byte {
		buffer = append(buffer, head...)
		buffer = append(buffer, "Cookie: "...)
		turn := uint64(sent.Add(1)) / uint64(inARow) //nolint:gosec // positive
		buffer = append(buffer, cookies[maphash.Comparable(random, turn)%uint64(len(cookies))]...)
		return append(buffer, "\r\n\r\n"...)
	}, status, length}
}

func contentLength(n int) string { return "Content-Length: " + strconv.Itoa(n) }
