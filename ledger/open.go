package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Deadlines. Nothing in this package waits longer for a database that does not answer.
const (
	readTimeout = 2 * time.Second
	pollTimeout = time.Second
	openTimeout = 5 * time.Second
)

// Options configures a Ledger.
type Options struct {
	// Path is the absolute path of the SQLite file.
	Path string
	// URL is the PostgreSQL database to use instead, such as
	// postgres://user:password@db.example.com/shop?sslmode=verify-full.
	URL string
	// Now returns the current time. The default is time.Now.
	Now func() time.Time
	// OnChange is called after a commit of this process and before its callers are answered, with the purchases whose
	// Holding changed and whether the keys changed. It must not call the ledger.
	OnChange func(purchaseIDs []string, keys bool)
	// Logger receives an error when the ledger becomes unusable and a line when it recovers, each at most once a minute.
	// The default discards.
	Logger *slog.Logger

	// For tests.
	pragmas      []string // of the writing connection
	migrations   []migration
	beforeCommit func()
}

// Ledger is a ledger in a database. Its methods may be called concurrently.
type Ledger struct {
	options Options
	health  health

	opening sync.Mutex   // serialises Open, Close and swap
	mu      sync.RWMutex // guards closed; held for reading while a job enters the queue
	closed  bool
	queue   chan *job
	stopped chan struct{} // closed when the writer has ended; nil before Open succeeded
	writing sync.Mutex    // held during a transaction, and by swap

	db           atomic.Pointer[database] // nil: not open
	openErr      atomic.Pointer[error]    // why there is none
	installation atomic.Pointer[string]   // nil: the database had none yet
}

// database is an opened database: an SQLite file, or a PostgreSQL server.
type database interface {
	// write runs f with the write lock of the whole database, and commits. Only one goroutine may call it at a time.
	write(f func(*tx)) error
	// read runs f in a transaction that sees one state of the database.
	read(ctx context.Context, f func(*tx)) error
	// lookup runs single queries, without a transaction.
	lookup(ctx context.Context) *tx
	// snapshot runs f with the whole ledger as it is at one moment, for as long as f takes.
	snapshot(ctx context.Context, f func(*tx)) error
	// check is why the database may not be used. It runs with every poll, and before "not found" is believed.
	check(ctx context.Context) error
	kindOf(err error) errorKind
	// dropIdle closes the idle connections.
	dropIdle()
	close() error
}

// errorKind says what an error means for other statements.
type errorKind int

const (
	ownError       errorKind = iota // concerns this statement only; also no error
	databaseError                   // others would fail as well
	lostConnection                  // it says nothing about the statement
)

var (
	errClosed  = fmt.Errorf("%w: closed", ErrUnavailable)
	errNotOpen = fmt.Errorf("%w: not open", ErrUnavailable)
	errSwapped = fmt.Errorf("%w: the file is being replaced", ErrUnavailable)
)

// New returns a Ledger that Open has yet to open.
func New(o Options) *Ledger {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnChange == nil {
		o.OnChange = func([]string, bool) {}
	}
	if o.beforeCommit == nil {
		o.beforeCommit = func() {}
	}
	if o.migrations == nil {
		o.migrations = migrations
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	l := &Ledger{options: o, queue: make(chan *job, 4*maxBatch)}
	l.health.options = &l.options
	l.health.use = notice{began: "the ledger cannot be used: nothing is sold until it recovers", ended: "the ledger can be used again"}
	l.health.writing = notice{began: "the ledger cannot be written: nothing is sold until it can", ended: "the ledger can be written again"}
	l.openErr.Store(&errNotOpen)
	return l
}

// Open opens the database and migrates it, or creates it where there is none. An open ledger stays as it is. After an
// error it may be called again; until then every method returns ErrUnavailable.
func (l *Ledger) Open(ctx context.Context) (created bool, err error) {
	l.opening.Lock()
	defer l.opening.Unlock()
	if l.isClosed() {
		return false, errClosed
	}
	if l.db.Load() != nil {
		return false, nil
	}
	if created, err = l.open(ctx); err != nil {
		return created, err
	}
	if l.stopped == nil {
		l.stopped = make(chan struct{})
		go l.runWriter()
	}
	_ = l.queueUp(ctx, l.storeTrial) // if payments cannot be stored, the writer notes it before anything is sold
	return created, nil
}

// open opens the database and checks that it belongs to the installation that this process knows.
func (l *Ledger) open(ctx context.Context) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	db, err := l.openDatabase(ctx, func(t *tx) { created = l.migrate(t) })
	if err == nil {
		t := db.lookup(ctx)
		var id string
		t.get(`SELECT id FROM installation`, nil, &id)
		if err = cmp.Or(t.err, l.checkInstallation(id)); err != nil {
			_ = db.close()
		}
	}
	if err != nil {
		err = unavailable(fmt.Errorf("opening %s: %w", l.Location(), err))
		l.openErr.Store(&err)
		return false, err
	}
	l.db.Store(&db)
	l.health.checked(nil)
	return created, nil
}

func (l *Ledger) openDatabase(ctx context.Context, migrate func(*tx)) (database, error) {
	if l.options.URL != "" {
		return openPostgres(ctx, l.options.URL, migrate)
	}
	return openSQLite(ctx, l.options.Path, l.options.pragmas, migrate)
}

// Close waits for the queue and closes the database. The ledger cannot be opened again.
func (l *Ledger) Close() error {
	l.opening.Lock()
	defer l.opening.Unlock()
	if l.isClosed() {
		return nil
	}
	l.mu.Lock()
	l.closed = true
	close(l.queue)
	l.mu.Unlock()
	if l.stopped != nil {
		<-l.stopped
	}
	l.openErr.Store(&errClosed)
	if db := l.db.Swap(nil); db != nil {
		return (*db).close()
	}
	return nil
}

// swap closes the database, runs replace with its path, and opens what is there then. Meanwhile every method returns
// ErrUnavailable. The next Poll notices whether the feed went backwards.
func (l *Ledger) swap(ctx context.Context, replace func(path string) error) error {
	l.opening.Lock()
	defer l.opening.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.isClosed() {
		return errClosed
	}
	l.openErr.Store(&errSwapped)
	if db := l.db.Swap(nil); db != nil {
		if err := (*db).close(); err != nil {
			return unavailable(err)
		}
	}
	replaceErr := replace(l.options.Path)
	_, err := l.open(ctx)
	return errors.Join(replaceErr, err)
}

func (l *Ledger) isClosed() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.closed
}

// Exists reports whether there is a ledger. It creates none.
func (l *Ledger) Exists(ctx context.Context) (bool, error) {
	if l.options.URL != "" {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		state, err := CheckServer(ctx, l.options.URL)
		return state.Exists, unavailable(err)
	}
	return fileExists(l.options.Path)
}

// Path is the path of the SQLite file; empty: the ledger is in PostgreSQL.
func (l *Ledger) Path() string { return l.options.Path }

// Location is where the ledger is, for people: its path, or server and database without user and password.
func (l *Ledger) Location() string { return l.options.location() }

func (o *Options) location() string {
	if o.URL == "" {
		return o.Path
	}
	location, err := CheckURL(o.URL)
	if err != nil {
		return "PostgreSQL"
	}
	return location
}

// database returns the open database, or why there is none.
func (l *Ledger) database() (database, error) {
	if db := l.db.Load(); db != nil {
		return *db, nil
	}
	return nil, *l.openErr.Load()
}

// writable returns the database, or why nothing may be written.
func (l *Ledger) writable() (database, error) {
	db, err := l.database()
	if err == nil {
		err = l.health.fault()
	}
	return db, err
}

// checkInstallation compares the installation of the database with the one that was seen first. An empty id means that
// the database has none.
func (l *Ledger) checkInstallation(id string) error {
	known := l.installation.Load()
	switch {
	case known != nil && *known == id:
		return nil
	case known != nil && id == "":
		return foreign("the database was emptied")
	case known != nil:
		return foreign("the database belongs to installation " + id)
	case id != "" && !l.installation.CompareAndSwap(nil, &id):
		return l.checkInstallation(id)
	}
	return nil
}

// now is the current time in seconds.
func (l *Ledger) now() int64 { return l.options.Now().Unix() }

// randomHex returns n random bytes in hexadecimal.
func randomHex(n int) string {
	raw := make([]byte, n)
	rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}

// unavailable wraps err in ErrUnavailable unless callers can tell it already.
func unavailable(err error) error {
	for _, known := range []error{ErrUnavailable, ErrNotFound, ErrNoneLeft, ErrInactive, ErrNotExport} {
		if err == nil || errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func foreign(reason string) error {
	return fmt.Errorf("%w: %w: %s", ErrUnavailable, ErrForeign, reason)
}
