package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// saveEvery is the least time between two writes of the state file. What
// happens within it is written once.
const saveEvery = 100 * time.Millisecond

// stateVersion changes with the file's format.
const stateVersion = 1

// savedState is the state file. Faults and the log of calls are not in it: they
// belong to one run.
type savedState struct {
	Version       int          `json:"version"`
	ConfiguredURL string       `json:"webhookUrl,omitempty"` // only what PUT /business/config set
	Mode          Mode         `json:"mode"`
	Sessions      []Session    `json:"sessions"`
	Payments      []Payment    `json:"payments"`
	Collections   []Collection `json:"collections"`
	Deliveries    []Delivery   `json:"deliveries"`
}

// keepSaving writes the state file after changes until Close.
func (s *Sandbox) keepSaving() {
	for {
		select {
		case <-s.dirty:
		case <-s.ctx.Done():
			return // Close writes the last state
		}
		if err := s.save(); err != nil {
			s.log.Error("state not saved", "error", err)
		}
		if !pause(s.ctx, saveEvery, nil) {
			return
		}
	}
}

func (s *Sandbox) save() error {
	text, err := s.marshalState()
	if err != nil {
		return fmt.Errorf("saving state: %w", err)
	}
	if err := writeAtomically(s.cfg.StateFile, text); err != nil {
		return fmt.Errorf("saving state: %w", err)
	}
	return nil
}

func (s *Sandbox) marshalState() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := savedState{Version: stateVersion, ConfiguredURL: s.configuredURL, Mode: s.mode}
	for rec := range s.sessions.all() {
		saved.Sessions = append(saved.Sessions, rec.Session)
	}
	for p := range s.payments.all() {
		saved.Payments = append(saved.Payments, *p)
	}
	for c := range s.collections.all() {
		saved.Collections = append(saved.Collections, *c)
	}
	for d := range s.deliveries.all() {
		saved.Deliveries = append(saved.Deliveries, d.Delivery)
	}
	return encodeJSON(saved)
}

// writeAtomically replaces a file so that a reader, or the next start after a
// crash, sees either the old text or the new one.
func writeAtomically(path string, text []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("creating a temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return os.Rename(tmp.Name(), path)
}

// load takes up the state of the previous run: deliveries that were under way
// start anew, and local payments settle when they would have.
func (s *Sandbox) load() error {
	text, err := os.ReadFile(s.cfg.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading state: %w", err)
	}
	var saved savedState
	if err := json.Unmarshal(text, &saved); err != nil {
		return fmt.Errorf("reading state from %s: %w", s.cfg.StateFile, err)
	}
	if saved.Version != stateVersion {
		return fmt.Errorf("state file %s has version %d, not %d: %w", s.cfg.StateFile, saved.Version, stateVersion, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restore(saved)
	return nil
}

// restore fills an empty sandbox. Callers hold mu.
func (s *Sandbox) restore(saved savedState) {
	s.mode = saved.Mode
	if saved.ConfiguredURL != "" {
		s.webhookURL, s.configuredURL = saved.ConfiguredURL, saved.ConfiguredURL
	}
	for _, rec := range saved.Sessions {
		s.sessions.add(rec.ID, &session{Session: rec})
	}
	for _, p := range saved.Payments {
		s.payments.add(p.ID, &p)
	}
	for _, c := range saved.Collections {
		s.collections.add(c.ID, &c)
		if c.Status == StatusProcessing && !c.SettleAt.IsZero() {
			s.settleLater(c.ID, c.SettleAt.Sub(s.now()))
		}
	}
	for _, d := range saved.Deliveries {
		s.restoreDelivery(newDelivery(d))
	}
}

// restoreDelivery puts a delivery back into its session's order. Callers hold mu.
func (s *Sandbox) restoreDelivery(d *delivery) {
	s.remember(d)
	if d.Status != StatusPending && d.Status != StatusHeld {
		d.markTried()
		return
	}
	if rec := s.sessions.byID[d.SessionID]; rec != nil && d.Tried == 0 {
		d.after = rec.lastTried
		rec.lastTried = d.tried
	}
	if d.Status == StatusPending {
		s.start(d)
	}
}
