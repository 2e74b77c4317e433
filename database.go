package paywall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/caddy-axra/paywall/cache"
	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// Database says where purchases are kept.
type Database struct {
	// Driver is `sqlite`, which is the default, or `postgres`.
	Driver string `json:"driver,omitempty"`

	// Path is the file of an SQLite database, absolute. The default is `axra/ledger.db` in Caddy's data
	// directory. It is made when Caddy starts for the first time, with mode 0600; a network file system
	// is refused.
	Path string `json:"path,omitempty"`

	// URL is that of a PostgreSQL database, such as
	// `postgres://user:password@db.example.com/shop?sslmode=verify-full`. It holds a password, so it is a placeholder:
	// `{env.AXRA_DATABASE_URL}` or `{file./run/secrets/database_url}`. The tables are made in a schema `axra` of that
	// database, so it may be one that other programs use. Several Caddys may use one database.
	URL string `json:"url,omitempty"`
}

const (
	driverSQLite   = "sqlite"
	driverPostgres = "postgres"
)

// location is where the database is: a file, or a URL.
type location struct{ path, url string }

// location is where the database is; the error names the fix.
func (d *Database) location() (location, error) {
	if err := d.check(); err != nil {
		return location{}, err
	}
	if d != nil && d.Driver == driverPostgres {
		url, err := postgresURL(d.URL)
		return location{url: url}, err
	}
	path := ""
	if d != nil {
		path = d.Path
	}
	path, err := sqlitePath(path)
	return location{path: path}, err
}

// check reports what can be told without the environment of the running Caddy. What stands in the wrong place may
// be a URL, so it is not repeated.
func (d *Database) check() error {
	switch {
	case d == nil:
	case isURL(d.Driver), isURL(d.Path):
		return errors.New("axra: the URL of a database goes behind `database postgres`, as a placeholder: " + writePostgres)
	case d.Driver == driverPostgres && d.Path != "":
		return errors.New("axra: database postgres takes no path: " + writePostgres)
	case d.Driver == driverPostgres && d.URL == "":
		return errors.New("axra: database postgres needs a URL: " + writePostgres)
	case d.Driver == driverPostgres && needsSecrecy(d.URL):
		if err := secretIsPlaceholder("the URL of database postgres", d.URL); err != nil {
			return fmt.Errorf("axra: %w", err)
		}
	case d.Driver == driverPostgres:
		if _, err := ledger.CheckURL(d.URL); errors.Is(err, ledger.ErrURL) { // a certificate may be on another machine
			return fmt.Errorf("axra: database postgres: %w", err)
		}
	case d.Driver != "" && d.Driver != driverSQLite:
		return fmt.Errorf("axra: database %s is unknown: write `database sqlite`, `database sqlite /var/lib/axra/ledger.db` or "+
			"`database postgres {env.AXRA_DATABASE_URL}`", d.Driver)
	case d.URL != "":
		return errors.New("axra: database sqlite takes no URL: write `database sqlite /var/lib/axra/ledger.db`, or " + writePostgres)
	}
	return nil
}

const writePostgres = "write `database postgres {env.AXRA_DATABASE_URL}`"

func isURL(text string) bool { return strings.Contains(text, "://") }

// needsSecrecy reports whether a URL is a placeholder, or must be one.
func needsSecrecy(url string) bool { return strings.Contains(url, "{") || ledger.MayHoldPassword(url) }

func sqlitePath(configured string) (string, error) {
	if configured == "" {
		folder := caddy.AppDataDir()
		if !filepath.IsAbs(folder) {
			return "", errors.New("axra: Caddy has no data directory of its own here: set HOME or XDG_DATA_HOME, or write `database sqlite /var/lib/axra/ledger.db`")
		}
		return filepath.Join(folder, "axra", "ledger.db"), nil
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(configured, true, true)
	switch {
	case err != nil, path == "":
		return "", fmt.Errorf("axra: database sqlite %s is empty in the running Caddy: set that variable and restart", configured)
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("axra: database sqlite %s is not an absolute path: write for example `database sqlite /var/lib/axra/ledger.db`", path)
	}
	return filepath.Clean(path), nil
}

func postgresURL(configured string) (string, error) {
	url := configured
	if needsSecrecy(configured) {
		var err error
		if url, err = resolveSecret("database postgres", configured); err != nil {
			return "", err
		}
	}
	if _, err := ledger.CheckURL(url); err != nil {
		return "", fmt.Errorf("axra: database postgres: %w", err)
	}
	return url, nil
}

// store is the open ledger, with what a node remembers of it. It outlives a reload.
type store struct {
	at      location
	ledger  *ledger.Ledger
	access  *access.Cache
	keyring *token.Keyring

	stages  cache.Cache[*progress] // what Axra last said about sessions that are not paid
	used    cache.Cache[*struct{}] // purchases whose first use was counted
	refused refusals
	sweeps  sync.Mutex // held by a sweep or an import

	logger   atomic.Pointer[zap.Logger] // of the configuration that was started last
	errors   complaints
	made     time.Time
	starting sync.Once
	started  atomic.Bool
	failed   atomic.Bool // it could not be opened
	stop     context.CancelFunc
	stopped  chan struct{}
}

// progressLife is how long it is remembered what Axra said about a session that is not paid.
const (
	maxProgress  = 10_000
	progressLife = 24 * time.Hour
)

// newStore makes a store for a database that is not opened yet.
func newStore(at location) *store {
	s := &store{
		at:      at,
		keyring: token.NewKeyring(now),
		stages:  cache.Expiring[*progress](maxProgress, progressLife),
		used:    cache.New[*struct{}](maxProgress),
		stopped: make(chan struct{}),
		made:    now(),
	}
	s.logger.Store(zap.NewNop())
	s.ledger = ledger.New(ledger.Options{
		Path: at.path, URL: at.url, Now: now, OnChange: s.onChange,
		Logger: slog.New(storeLog{s}),
	})
	s.access = access.New(access.Options{
		Ledger: s.ledger, Keys: s.keyring, Now: now,
		OnKeys: func(ctx context.Context) error {
			err := s.keyring.Refresh(ctx, keyStore{s.ledger})
			if errors.Is(err, token.ErrNoKeys) {
				return nil // ensureKeys is about to make them
			}
			return err
		},
		OnError: func(err error) {
			ledgerErrors.WithLabelValues(operationRead).Inc()
			s.logLimited("the ledger cannot tell whether a purchase is still good; known buyers are served for the time of grace", err)
		},
	})
	return s
}

// onChange is called after each commit of this process that changed what tokens may do.
func (s *store) onChange(purchaseIDs []string, _ bool) { s.access.Drop(purchaseIDs) }

// startTimeout is how long Caddy's start waits for the database.
const startTimeout = 2 * time.Second

// start opens the database and follows its change feed, once for all configurations. A database that cannot be
// opened, or not in time, does not keep Caddy from starting: it is tried again every second.
func (s *store) start(logger *zap.Logger) {
	s.logger.Store(logger)
	s.starting.Do(func() {
		s.started.Store(true)
		ctx, cancel := context.WithCancel(context.Background())
		s.stop = cancel
		tried := make(chan struct{})
		go func() {
			defer close(s.stopped)
			if s.open(ctx) {
				_ = s.access.Poll(ctx) // the first visitor may buy; the loop below tells of an error
			}
			close(tried)
			s.follow(ctx)
		}()
		select {
		case <-tried:
		case <-time.After(startTimeout):
		}
	})
}

// follow polls the change feed, and opens the database where it is not open yet.
func (s *store) follow(ctx context.Context) {
	s.access.Follow(ctx, func(err error) {
		if err == nil || ctx.Err() != nil {
			return
		}
		ledgerErrors.WithLabelValues(operationPoll).Inc()
		wasClosed := s.failed.Load()
		if s.open(ctx) && !wasClosed {
			s.logLimited("the ledger cannot be read; nothing is sold, and known buyers are served for the time of grace", err)
		}
	})
}

// mayReplace refuses a reload that would leave the purchases of the running configuration for the ledger of
// another installation: their buyers would be strangers. It creates nothing.
func (s *store) mayReplace(ctx context.Context) error {
	var running *store
	pool.Range(func(_, value any) bool {
		if other, ok := value.(*store); ok && other != s && other.started.Load() {
			running = other
		}
		return true
	})
	if running == nil || s.started.Load() {
		return nil
	}
	installation := running.keyring.Installation()
	if installation == "" {
		return nil // it could never be opened, so nobody has been let in by it
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for _, err := range running.ledger.List(ctx, ledger.Filter{Limit: 1}) { // what cannot be read may hold some
		found, otherErr := s.installation(ctx)
		if otherErr != nil || found != installation {
			return errors.Join(fmt.Errorf("axra: database %s is not a copy of %s, which is in use and holds purchases: "+
				"stop Caddy to begin anew, or move them with `caddy axra export` and `import`", s.ledger.Location(), running.ledger.Location()), err, otherErr)
		}
	}
	return nil
}

// installation is that of the ledger in the database; empty: there is none, and none is made.
func (s *store) installation(ctx context.Context) (string, error) {
	if s.at.url != "" {
		state, err := ledger.CheckServer(ctx, s.at.url)
		return state.Installation, err
	}
	if exists, err := s.ledger.Exists(ctx); err != nil || !exists {
		return "", err
	}
	if _, err := s.ledger.Open(ctx); err != nil {
		return "", err
	}
	set, err := s.ledger.Keys(ctx)
	if errors.Is(err, ledger.ErrNotFound) {
		return "", nil
	}
	return set.Installation, err
}

// open opens the database, or creates it.
func (s *store) open(ctx context.Context) (opened bool) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	created, err := s.ledger.Open(ctx)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return false
	case err != nil:
		s.failed.Store(true)
		s.logLimited("the ledger cannot be opened; nothing is sold, and webhooks are asked to come again", err)
		return false
	case created:
		s.logger.Load().Warn("a new ledger was created: it holds no purchases yet", zap.String("database", s.ledger.Location()))
	}
	if s.failed.Swap(false) {
		s.logger.Load().Info("the ledger was opened", zap.String("database", s.ledger.Location()))
	}
	return true
}

// ensureKeys makes sure that there is a key of the algorithm to sign with.
func (s *store) ensureKeys(ctx context.Context, algorithm string) {
	for {
		err := s.keyring.Ensure(ctx, keyStore{s.ledger}, algorithm)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.logLimited("the signing keys cannot be read or created", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// sells is nil where a payment could be recorded now. Otherwise nothing may be sold.
func (s *store) sells(bounds access.Bounds) error {
	if err := s.ledger.Err(); err != nil {
		return err
	}
	if !s.access.IsFresh(bounds.Recheck) {
		return errStale
	}
	return nil
}

var errStale = errors.New("the change feed of the ledger was not read lately")

const openTimeout = 5 * time.Second

// logLimited logs an error, each message once a minute.
func (s *store) logLimited(message string, err error) {
	s.errors.complain(s.logger.Load(), message, zap.Error(err))
}

// Destruct ends the background work and closes the database.
func (s *store) Destruct() error {
	if s.stop != nil {
		s.stop()
		<-s.stopped
	}
	s.access.Close()
	s.stages.StopAllGoroutines()
	s.used.StopAllGoroutines()
	return s.ledger.Close()
}

// storeLog writes the ledger's log lines to the logger of the running configuration.
type storeLog struct{ store *store }

func (l storeLog) handler() slog.Handler {
	logger := l.store.logger.Load()
	return zapslog.NewHandler(logger.Core(), zapslog.WithName(logger.Name()), zapslog.AddStacktraceAt(slog.LevelError+1))
}

func (l storeLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.handler().Enabled(ctx, level)
}

func (l storeLog) Handle(ctx context.Context, record slog.Record) error {
	return l.handler().Handle(ctx, record)
}

func (l storeLog) WithAttrs(attrs []slog.Attr) slog.Handler { return l.handler().WithAttrs(attrs) }

func (l storeLog) WithGroup(name string) slog.Handler { return l.handler().WithGroup(name) }

// keyStore keeps the signing keys in the ledger.
type keyStore struct{ ledger *ledger.Ledger }

func (s keyStore) Keys(ctx context.Context) (token.KeySet, error) {
	set, err := s.ledger.Keys(ctx)
	if errors.Is(err, ledger.ErrNotFound) {
		return token.KeySet{}, token.ErrNoKeys
	}
	return fromLedger(set), err
}

func (s keyStore) ChangeKeys(ctx context.Context, edit func(token.KeySet) ([]token.StoredKey, error)) (token.KeySet, error) {
	set, err := s.ledger.ChangeKeys(ctx, func(set ledger.KeySet) ([]ledger.Key, error) {
		edited, err := edit(fromLedger(set))
		if err != nil || edited == nil {
			return nil, err
		}
		keys := make([]ledger.Key, len(edited))
		for i, key := range edited {
			keys[i] = ledger.Key(key)
		}
		return keys, nil
	})
	return fromLedger(set), err
}

func fromLedger(set ledger.KeySet) token.KeySet {
	keys := make([]token.StoredKey, len(set.Keys))
	for i, key := range set.Keys {
		keys[i] = token.StoredKey(key)
	}
	return token.KeySet{Installation: set.Installation, Keys: keys}
}
