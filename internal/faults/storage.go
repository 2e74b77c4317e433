// Package faults holds the means to hurt the plugin on purpose: a storage that
// fails on command, and the tests that need processes of their own.
package faults

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
)

func init() {
	caddy.RegisterModule(new(Storage))
}

// Fault is what a storage does wrong.
type Fault string

// The faults.
const (
	None     Fault = ""
	Fails    Fault = "fails"    // every operation ends with an error
	Full     Fault = "full"     // Store ends with ENOSPC, everything else works
	Stalls   Fault = "stalls"   // operations hang until the fault is lifted, whatever their context says
	Garbles  Fault = "garbles"  // Store writes something else and reports success
	Empties  Fault = "empties"  // Store writes nothing into the file and reports success
	Forgets  Fault = "forgets"  // Store reports success and writes nothing at all
	Blind    Fault = "blind"    // Load ends with an error, Store works
	Panics   Fault = "panics"   // every operation panics
	LockHeld Fault = "lockheld" // Lock waits for ever, everything else works
)

// ErrFault is what a failing storage answers.
var ErrFault = errors.New("storage fails on command")

// Storage is a file storage that misbehaves on command, `caddy.storage.faulty`.
// The faults are shared by all that stand on one folder, so that a test reaches
// the storage inside a running Caddy.
type Storage struct {
	// Root is the folder.
	Root string `json:"root"`

	files   *certmagic.FileStorage
	control *Control
}

// Control commands the storages on one folder.
type Control struct {
	mu     sync.Mutex
	fault  Fault
	prefix string
	healed chan struct{}
	loads  int
	stores int
}

var controls sync.Map // folder → *Control

// On returns the control of the storages on a folder.
func On(root string) *Control {
	control, _ := controls.LoadOrStore(root, &Control{healed: make(chan struct{})})
	return control.(*Control) //nolint:forcetypeassert // only this function stores
}

// Set begins a fault for the keys with the prefix ("": all), and ends the one
// before.
func (c *Control) Set(fault Fault, prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.healed)
	c.fault, c.prefix, c.healed = fault, prefix, make(chan struct{})
}

// Heal ends the fault.
func (c *Control) Heal() { c.Set(None, "") }

// Counts returns how many keys were loaded and stored.
func (c *Control) Counts() (loads, stores int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loads, c.stores
}

func (c *Control) on(key string) (Fault, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !strings.HasPrefix(key, c.prefix) {
		return None, nil
	}
	return c.fault, c.healed
}

// CaddyModule returns the Caddy module information.
func (*Storage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.faulty", New: func() caddy.Module { return new(Storage) }}
}

// CertMagicStorage opens the storage.
func (s *Storage) CertMagicStorage() (certmagic.Storage, error) {
	s.files, s.control = &certmagic.FileStorage{Path: s.Root}, On(s.Root)
	return s, nil
}

// UnmarshalCaddyfile reads `storage faulty <root>`.
func (s *Storage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&s.Root) {
		return d.ArgErr()
	}
	return nil
}

// suffer applies the faults that all operations share.
func (s *Storage) suffer(key string) (Fault, error) {
	fault, healed := s.control.on(key)
	switch fault {
	case Fails:
		return fault, ErrFault
	case Panics:
		panic("storage panics on command")
	case Stalls:
		<-healed
	}
	return fault, nil
}

// Store stores, or does what the fault says.
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	s.control.mu.Lock()
	s.control.stores++
	s.control.mu.Unlock()
	fault, err := s.suffer(key)
	if err != nil {
		return err
	}
	switch fault {
	case Full:
		return syscall.ENOSPC
	case Forgets:
		return nil
	case Empties:
		value = nil
	case Garbles:
		value = append([]byte("\x00garbled"), value[len(value)/2:]...)
	}
	return s.files.Store(ctx, key, value)
}

// Load loads, or does what the fault says.
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	s.control.mu.Lock()
	s.control.loads++
	s.control.mu.Unlock()
	fault, err := s.suffer(key)
	if err != nil {
		return nil, err
	}
	if fault == Blind {
		return nil, ErrFault
	}
	return s.files.Load(ctx, key)
}

// Lock locks, or does what the fault says.
func (s *Storage) Lock(ctx context.Context, name string) error {
	fault, err := s.suffer(name)
	if err != nil {
		return err
	}
	if fault == LockHeld {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.files.Lock(ctx, name)
}

// Unlock unlocks.
func (s *Storage) Unlock(ctx context.Context, name string) error { return s.files.Unlock(ctx, name) }

// Delete deletes.
func (s *Storage) Delete(ctx context.Context, key string) error {
	if _, err := s.suffer(key); err != nil {
		return err
	}
	return s.files.Delete(ctx, key)
}

// Exists is true on a fault, as certmagic's own is on any error but not-exist.
func (s *Storage) Exists(ctx context.Context, key string) bool {
	if _, err := s.suffer(key); err != nil {
		return true
	}
	return s.files.Exists(ctx, key)
}

// List lists.
func (s *Storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	if _, err := s.suffer(path); err != nil {
		return nil, err
	}
	return s.files.List(ctx, path, recursive)
}

// Stat describes a key.
func (s *Storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	if _, err := s.suffer(key); err != nil {
		return certmagic.KeyInfo{}, err
	}
	return s.files.Stat(ctx, key)
}

// Interface guards
var (
	_ certmagic.Storage      = (*Storage)(nil)
	_ caddy.StorageConverter = (*Storage)(nil)
	_ caddyfile.Unmarshaler  = (*Storage)(nil)
)
