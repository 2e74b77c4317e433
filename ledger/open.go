package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
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
	// URL says that the ledger is in a PostgreSQL database instead, and which, such as
	// postgres://user:password@db.example.com/shop?sslmode=verify-full.
	URL string
	// Now returns the current time. The default is time.Now.
	Now func() time.Time
	// Random is the source of ids and nonces. The default is crypto/rand.
	Random io.Reader
	// OnChange is called after a commit of this process and before its callers are answered, with the
	// purchases whose Holding changed and whether the keys changed. It must not call the ledger.
	OnChange func(purchaseIDs []string, keys bool)
	// Logger receives an error when the ledger becomes unusable, and a line when that is over, each at most once a
	// minute. The default discards.
	Logger *slog.Logger

	// For tests.
	pragmas      []string // of the writing connection
	migrations   []migration
	beforeCommit func()
}

// Ledger is a ledger in a database. Its methods may be called concurrently.
type Ledger struct {
	options Options

	opening sync.Mutex   // serialises Open, Close and swap
	mu      sync.RWMutex // guards closed; held for reading while a job enters the queue
	closed  bool
	queue   chan *job
	stopped chan struct{} // closed when the writer has ended; nil before Open succeeded
	writing sync.Mutex    // held during a transaction, and by swap

	db           atomic.Pointer[database] // nil: not open
	openErr      atomic.Pointer[error]    // why Open failed last
	installation atomic.Pointer[string]   // nil: the database had none yet

	health health
	sold   termsCache
}

// New returns a Ledger that Open has yet to open.
func New(o Options) *Ledger {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.OnChange == nil {
		o.OnChange = func([]string, bool) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.beforeCommit == nil {
		o.beforeCommit = func() {}
	}
	if o.migrations == nil {
		o.migrations = migrations
	}
	return &Ledger{options: o, queue: make(chan *job, 4*maxBatch), health: newHealth()}
}

// Open opens the database and migrates it, or creates it where there is none. An open ledger stays as it
// is. After an error it may be called again; until then every method returns ErrUnavailable.
func (l *Ledger) Open(ctx context.Context) (created bool, err error) {
	l.opening.Lock()
	defer l.opening.Unlock()
	if l.isClosed() {
		return false, fmt.Errorf("%w: closed", ErrUnavailable)
	}
	if l.db.Load() != nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	created, err = l.open(ctx)
	if err != nil {
		err = unavailable(fmt.Errorf("opening %s: %w", l.Location(), err))
		l.openErr.Store(&err)
		return false, err
	}
	if l.stopped == nil {
		l.stopped = make(chan struct{})
		go l.runWriter()
	}
	return created, nil
}

// open opens the database and checks that it belongs to the installation that this process knows.
func (l *Ledger) open(ctx context.Context) (created bool, err error) {
	db, created, err := l.openDatabase(ctx)
	if err != nil {
		return false, err
	}
	var id string
	err = db.lookup().QueryRowContext(ctx, `SELECT id FROM installation`).Scan(&id)
	if err = ignoreNoRows(err); err == nil {
		err = l.checkInstallation(id)
	}
	if err != nil {
		_ = db.close()
		return false, err
	}
	l.db.Store(&db)
	l.health.clear(l.options)
	return created, nil
}

func (l *Ledger) openDatabase(ctx context.Context) (database, bool, error) {
	if l.options.URL != "" {
		return openPostgres(ctx, l.options.URL, l.migrate)
	}
	return openSQLite(ctx, l.options.Path, l.options.pragmas, l.migrate)
}

// Close waits for the queue and closes the database. The ledger cannot be opened again.
func (l *Ledger) Close() error {
	l.opening.Lock()
	defer l.opening.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.queue)
	l.mu.Unlock()
	if l.stopped != nil {
		<-l.stopped
	}
	if db := l.db.Swap(nil); db != nil {
		return (*db).close()
	}
	return nil
}

// swap closes the database, runs replace with its path, and opens what is there then. Meanwhile every
// method returns ErrUnavailable. The next Poll notices whether the feed went backwards.
func (l *Ledger) swap(ctx context.Context, replace func(path string) error) error {
	l.opening.Lock()
	defer l.opening.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.isClosed() {
		return fmt.Errorf("%w: closed", ErrUnavailable)
	}
	err := fmt.Errorf("%w: the file is being replaced", ErrUnavailable)
	l.openErr.Store(&err)
	if db := l.db.Swap(nil); db != nil {
		if err := (*db).close(); err != nil {
			return unavailable(err)
		}
	}
	replaceErr := replace(l.options.Path)
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if _, err := l.open(ctx); err != nil {
		err = unavailable(fmt.Errorf("opening %s: %w", l.Location(), err))
		l.openErr.Store(&err)
		return errors.Join(replaceErr, err)
	}
	return replaceErr
}

func (l *Ledger) isClosed() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.closed
}

// Path is the path of the SQLite file; empty: the ledger is in PostgreSQL.
func (l *Ledger) Path() string { return l.options.Path }

// Location says for people where the ledger is: its path, or server and database without user and password.
func (l *Ledger) Location() string { return l.options.location() }

func (o Options) location() string {
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
	if err := l.openErr.Load(); err != nil {
		return nil, *err
	}
	return nil, fmt.Errorf("%w: not open", ErrUnavailable)
}

// checkInstallation compares the installation of the database with the one that was seen first. An empty id
// means that the database has none.
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
func (l *Ledger) randomHex(n int) (string, error) {
	raw := make([]byte, n)
	if _, err := io.ReadFull(l.options.Random, raw); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

// unavailable wraps err in ErrUnavailable unless callers can tell it already.
func unavailable(err error) error {
	for _, known := range []error{ErrUnavailable, ErrNotFound, ErrNoneLeft, ErrRemoved, ErrUnchanged, ErrInactive} {
		if err == nil || errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func foreign(reason string) error {
	return fmt.Errorf("%w: %w: %s", ErrUnavailable, ErrForeign, reason)
}

// Exists reports whether there is a ledger at its place. It makes none.
func (l *Ledger) Exists(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if l.options.URL != "" {
		return postgresExists(ctx, l.options.URL)
	}
	_, err := os.Stat(l.options.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
