// Package sandbox is a stand-in for the payment provider Axra: its API, its
// hosted checkout page and its signed webhooks, with faults on demand. The
// example runs on it, and so does every test that needs a provider.
//
// It imitates what Axra's public documentation says; each rule cites the page
// it comes from in square brackets, such as [payments/checkout-sessions]. Where
// the documentation is silent, Config decides.
//
// It is a development tool. No money moves, the state is a file at best, and
// whoever reaches it can mark any session as paid. It therefore answers only
// clients on the loopback interface, refuses Host headers of other names, and
// refuses state-changing requests that a page of another origin sent.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Errors that the methods of Sandbox wrap.
var (
	// ErrNotFound says that no session, payment, collection or delivery has this id.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the thing exists but is not in a state that allows the request.
	ErrConflict = errors.New("not possible in this state")
	// ErrInvalid says that the request itself makes no sense.
	ErrInvalid = errors.New("invalid request")
	// ErrClosed says that the sandbox has been closed.
	ErrClosed = errors.New("sandbox is closed")
)

// Sandbox is an http.Handler that behaves like Axra. It is safe for concurrent
// use. Create it with New and end it with Close.
type Sandbox struct {
	cfg         Config
	log         *slog.Logger
	mux         *http.ServeMux
	pages       map[page]*template.Template
	crossOrigin *http.CrossOriginProtection

	ctx    context.Context // ends with Close; everything that waits listens to it
	cancel context.CancelFunc
	work   sync.WaitGroup // deliveries, pending settlements, the state writer
	posts  chan struct{}  // one slot per webhook request on the wire
	dirty  chan struct{}  // tells the state writer that there is news

	mu     sync.Mutex // guards everything below
	closed bool
	state
}

// New returns a running sandbox. With Config.StateFile it goes on where the
// previous one stopped, undelivered webhooks included.
func New(cfg Config) (*Sandbox, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	s := &Sandbox{
		cfg:         cfg,
		log:         cfg.Logger,
		pages:       parsePages(),
		crossOrigin: http.NewCrossOriginProtection(),
		posts:       make(chan struct{}, maxPosts),
		dirty:       make(chan struct{}, 1),
		state:       newState(cfg),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mux = s.routes()
	if cfg.StateFile != "" {
		if err := s.load(); err != nil {
			s.cancel()
			return nil, fmt.Errorf("sandbox: %w", err)
		}
		s.work.Go(s.keepSaving)
	}
	return s, nil
}

// Close ends everything that is under way (webhook deliveries, pending
// settlements, hanging API calls), waits for it, and writes the state file a
// last time. API calls that arrive later are answered 503.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	if !first {
		return nil
	}
	s.cfg.Client.CloseIdleConnections()
	if s.cfg.StateFile == "" {
		return nil
	}
	return s.save()
}

// ServeHTTP answers the API under /api/v1, the checkout under /checkout, the
// dashboard at / and the JSON control under /sandbox.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.guard(r); err != nil {
		http.Error(w, "axra sandbox: "+err.Error(), http.StatusForbidden)
		return
	}
	secureHeaders(w.Header())
	s.mux.ServeHTTP(w, r)
}

func (s *Sandbox) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc(APIPrefix+"/", s.serveAPI)
	s.checkoutRoutes(mux)
	s.controlRoutes(mux)
	s.dashboardRoutes(mux)
	return mux
}

// now is the injected clock in UTC.
func (s *Sandbox) now() time.Time { return s.cfg.Now().UTC() }

// spawn runs fn in a goroutine that Close waits for, unless the sandbox is
// closed already. Callers hold mu.
func (s *Sandbox) spawn(fn func()) bool {
	if s.closed {
		return false
	}
	s.work.Go(fn)
	return true
}
