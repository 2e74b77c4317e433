package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed" // the scripts
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
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
	// OnChange is called after a commit of this process and before its caller is answered, with the purchases whose
	// Holding changed and whether the keys changed. It must not call the ledger.
	OnChange func(purchaseIDs []string, keys bool)
	// Log receives an error when the ledger becomes unusable, and nil when it recovers, each at most once a minute. The
	// default discards.
	Log func(message string, err error)

	// For tests.
	pragmas    []string // of the writing connection
	migrations []migration
}

// Ledger is a ledger in a database. Its methods may be called concurrently.
type Ledger struct {
	options  Options
	location string
	health   health

	opening sync.Mutex    // serialises Open and Close
	queue   chan *job     // writes that wait; received from only by whoever has put one into writing
	writing chan struct{} // holds one during a write
	opened  atomic.Pointer[opened]

	installation atomic.Pointer[string] // that was seen first; nil: the database had none yet
}

// opened is the open database, or why there is none.
type opened struct {
	db  *database
	err error
}

var (
	errClosed  = fmt.Errorf("%w: closed", ErrUnavailable)
	errNotOpen = fmt.Errorf("%w: not open", ErrUnavailable)
)

// New returns a Ledger that Open has yet to open.
func New(o Options) *Ledger {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnChange == nil {
		o.OnChange = func([]string, bool) {}
	}
	if o.migrations == nil {
		o.migrations = migrations
	}
	l := &Ledger{options: o, location: o.Path, queue: make(chan *job, 4*maxBatch), writing: make(chan struct{}, 1)}
	if o.URL != "" {
		location, _ := CheckURL(o.URL)
		l.location = cmp.Or(location, "PostgreSQL")
	}
	if o.Log == nil {
		l.options.Log = func(string, error) {}
	}
	l.health.log = l.options.Log
	l.health.now, l.health.saidAt = o.Now, make(map[string]time.Time)
	l.opened.Store(&opened{err: errNotOpen})
	return l
}

// Open opens the database and migrates it, or creates it where there is none. An open ledger stays as it is. After an
// error it may be called again; until then every method returns ErrUnavailable. The database must belong to the installation
// that this process knows.
func (l *Ledger) Open(ctx context.Context) (created bool, err error) {
	l.opening.Lock()
	defer l.opening.Unlock()
	if _, err := l.database(); err == nil || errors.Is(err, errClosed) {
		return false, err
	}
	within, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var db *database
	migrate := func(t *tx) { created = l.migrate(t) }
	if l.options.URL != "" {
		db, err = openPostgres(within, l.options.URL, migrate)
	} else {
		db, err = openSQLite(within, l.options.Path, l.options.pragmas, migrate)
	}
	if err == nil {
		var id string
		t := db.lookup(within)
		t.get(`SELECT id FROM installation`, nil, &id)
		if err = cmp.Or(t.err, l.checkInstallation(id)); err != nil {
			_ = db.close()
		}
	}
	if err != nil {
		err = unavailable(fmt.Errorf("opening %s: %w", l.location, err))
		l.opened.Store(&opened{err: err})
		return false, err
	}
	l.opened.Store(&opened{db: db})
	l.health.checked(nil)
	_ = l.transact(ctx, l.storeTrial) // if payments cannot be stored, it is noted before anything is sold
	return created, nil
}

// Close waits for the writes that have begun and closes the database. The ledger cannot be opened again.
func (l *Ledger) Close() error {
	l.opening.Lock()
	defer l.opening.Unlock()
	was := l.opened.Swap(&opened{err: errClosed})
	if was.db == nil {
		return nil
	}
	l.writing <- struct{}{}
	defer func() { <-l.writing }()
	return unavailable(was.db.close())
}

// Path is the path of the SQLite file; empty: the ledger is in PostgreSQL.
func (l *Ledger) Path() string { return l.options.Path }

// Location is where the ledger is, for people: its path, or server and database without user and password.
func (l *Ledger) Location() string { return l.location }

// database returns the open database, or why there is none.
func (l *Ledger) database() (*database, error) {
	now := l.opened.Load()
	return now.db, now.err
}

// writable returns the database, or why nothing may be written.
func (l *Ledger) writable() (*database, error) {
	db, err := l.database()
	return db, cmp.Or(err, l.health.get().faulty)
}

// checkInstallation compares the installation of the database, empty where it has none, with the one that was seen first.
func (l *Ledger) checkInstallation(id string) error {
	if id != "" && l.installation.CompareAndSwap(nil, &id) {
		return nil
	}
	switch known := l.installation.Load(); {
	case known == nil, *known == id:
		return nil
	case id == "":
		return foreign("the database was emptied")
	}
	return foreign("the database belongs to installation " + id)
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

//go:embed schema/0001_initial.sql
var initialSchema string

// migration is a step from one schema version to the next. It only adds, and every column that it adds has a default,
// so that old and new programs share a database.
type migration struct {
	name   string
	script string
	oldest int // schema version whose programs may still use the database
}

var migrations = []migration{
	{name: "0001_initial", script: initialSchema, oldest: 1},
}

// migrateTimeout is for a statement of a migration, which may change every row.
const migrateTimeout = 10 * time.Minute

// migrate brings the schema up to date. It runs in a transaction that holds the write lock.
func (l *Ledger) migrate(t *tx) (created bool) {
	version := 0
	if len(t.texts(t.dialect.tables)) > 0 {
		version = l.schemaVersion(t)
	}
	if version > 0 && version < len(l.options.migrations) {
		t.exec(`UPDATE feed SET seq = seq`) // the lock that older programs take first
	}
	t.waitUpTo(migrateTimeout)
	for i := version; i < len(l.options.migrations) && t.err == nil; i++ {
		step := l.options.migrations[i]
		t.exec(t.dialect.migrate(step.script))
		t.exec(`INSERT INTO schema_versions (version, oldest, at) VALUES ($1, $2, $3)`, i+1, step.oldest, l.now())
		if t.err != nil {
			t.err = fmt.Errorf("%s: %w", step.name, t.err)
		}
	}
	return version == 0
}

// schemaVersion is the number of migrations that have run. It refuses the tables of another program, and those that a
// newer version of this program has changed too much.
func (l *Ledger) schemaVersion(t *tx) (version int) {
	if !slices.Contains(t.texts(t.dialect.tables), "schema_versions") {
		t.fail(foreign("the database belongs to another program"))
	}
	var oldest int
	if t.get(`SELECT COALESCE(MAX(version), 0), COALESCE(MAX(oldest), 0) FROM schema_versions`, nil, &version, &oldest); version == 0 {
		t.fail(foreign("the database states no schema version"))
	}
	t.fail(l.checkSchema(oldest))
	return version
}

// checkSchema compares the oldest schema version that may be used with what this program knows.
func (l *Ledger) checkSchema(oldest int) error {
	if known := len(l.options.migrations); oldest > known {
		return fmt.Errorf("the database needs a program that knows schema %d, this one knows %d: upgrade the plugin", oldest, known)
	}
	return nil
}
