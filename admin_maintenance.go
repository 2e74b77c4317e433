package paywall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/webhook"
)

// reportInfo adds up what happened within a time.
type reportInfo struct {
	From          *time.Time   `json:"from,omitempty"` // absent: the beginning
	To            time.Time    `json:"to"`
	Lines         []reportLine `json:"lines"`
	Mismatched    int          `json:"mismatched"` // payments in another amount or currency than asked
	DoubleCharges int          `json:"double_charges"`
}

type reportLine struct {
	Site         string      `json:"site"`
	Pass         string      `json:"pass"`
	Currency     string      `json:"currency"`
	Sales        reportSum   `json:"sales"`
	Refunds      reportSum   `json:"refunds"`
	Disputes     reportSum   `json:"disputes"`
	DisputesLost reportSum   `json:"disputes_lost"`
	Net          json.Number `json:"net"`
}

type reportSum struct {
	Count  int         `json:"count"`
	Amount json.Number `json:"amount"` // in major units
}

func reportLineOf(line ledger.ReportLine) reportLine {
	sum := func(s ledger.Sum) reportSum { return reportSum{s.Count, line.Price(s.Minor).Number()} }
	return reportLine{
		Site: line.Site, Pass: line.Product, Currency: line.Currency,
		Sales: sum(line.Sales), Refunds: sum(line.Refunds), Disputes: sum(line.Disputes), DisputesLost: sum(line.DisputesLost),
		Net: line.Price(line.Net()).Number(),
	}
}

func (a *App) adminReport(w http.ResponseWriter, r *http.Request) error {
	from, to, err := parseSpan(r.URL.Query().Get("from"), r.URL.Query().Get("to"))
	if err != nil {
		return err
	}
	if to.IsZero() {
		to = now().Add(time.Second).Truncate(time.Second) // what has just been paid is in it
	}
	a.withoutDeadline(w)
	report, err := a.ledger.Report(r.Context(), from, to)
	if err != nil {
		return ledgerError(err)
	}
	info := reportInfo{From: optionalTime(from), To: to.UTC(), Lines: []reportLine{}, Mismatched: report.Mismatched, DoubleCharges: report.DoubleCharges}
	for _, line := range report.Lines {
		info.Lines = append(info.Lines, reportLineOf(line))
	}
	return writeAdmin(w, info)
}

// sweptInfo is what a sweep has deleted.
type sweptInfo struct {
	Purchases int `json:"purchases"` // with all that belongs to them
	Events    int `json:"events"`    // that matched no payment
}

func (a *App) adminSweep(w http.ResponseWriter, r *http.Request) error {
	if a.Keep < 0 {
		return adminError(http.StatusConflict, errors.New("with `keep forever` nothing is swept"))
	}
	a.withoutDeadline(w)
	swept, err := a.sweep(r.Context())
	if err != nil {
		return ledgerError(err)
	}
	return writeAdmin(w, sweptInfo{Purchases: swept.Purchases, Events: swept.Events})
}

// Headers of exports and backups. The checksum is a trailer, so whoever gets one knows that all of it has come.
const (
	headerLedgerSize = "Axra-Ledger-Size" // of the ledger's file in bytes, to show progress
	headerChecksum   = "Axra-Sha256"
)

// checkedBody is a body whose checksum follows it.
type checkedBody struct {
	w       http.ResponseWriter
	sum     hash.Hash
	written int64
}

// startDownload announces a body and its checksum.
func (a *App) startDownload(w http.ResponseWriter, contentType string) *checkedBody {
	a.withoutDeadline(w)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Trailer", headerChecksum)
	if info, err := os.Stat(a.ledger.Path()); err == nil { // PostgreSQL has no file
		w.Header().Set(headerLedgerSize, strconv.FormatInt(info.Size(), 10))
	}
	return &checkedBody{w: w, sum: sha256.New()}
}

func (d *checkedBody) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.sum.Write(p[:n])
	d.written += int64(n)
	return n, err
}

// end adds the checksum. An error that comes when a part is on its way cannot be told any more: without the
// checksum that part is no download.
func (d *checkedBody) end(err error) error {
	if err == nil {
		d.w.Header().Set(headerChecksum, hex.EncodeToString(d.sum.Sum(nil)))
		return nil
	}
	if d.written > 0 {
		return nil
	}
	d.w.Header().Del("Trailer")
	d.w.Header().Del(headerLedgerSize)
	return ledgerError(err)
}

// adminExport writes the ledger as JSON lines, with the signing keys.
func (a *App) adminExport(w http.ResponseWriter, r *http.Request) error {
	out := a.startDownload(w, "application/jsonl")
	rows, err := a.ledger.Export(r.Context(), out)
	if err != nil {
		a.logger.Error("the ledger could not be exported", zap.Error(err))
		return out.end(err)
	}
	a.logger.Info("ledger exported", zap.Int("rows", rows))
	return out.end(nil)
}

// adminBackup writes a copy of the ledger's file, with the signing keys.
func (a *App) adminBackup(w http.ResponseWriter, r *http.Request) error {
	if a.ledger.Path() == "" {
		return ledgerError(ledger.ErrNoFile)
	}
	out := a.startDownload(w, "application/vnd.sqlite3")
	if err := a.ledger.Backup(r.Context(), out); err != nil {
		a.logger.Error("the ledger could not be backed up", zap.Error(err))
		return out.end(err)
	}
	a.logger.Info("ledger backed up", zap.Int64("bytes", out.written))
	return out.end(nil)
}

// importedInfo is what an import did.
type importedInfo struct {
	Installation string `json:"installation"` // that the ledger has adopted, with its keys
	Rows         int    `json:"rows"`
}

// adminImport reads an export into the ledger, if that has no payments.
func (a *App) adminImport(w http.ResponseWriter, r *http.Request) error {
	a.withoutDeadline(w)
	if !a.store.sweeps.TryLock() {
		drain(r)
		return ledgerError(errSweeping)
	}
	defer a.store.sweeps.Unlock()
	done, err := a.ledger.Import(r.Context(), r.Body)
	if err != nil {
		drain(r)
		return ledgerError(err)
	}
	a.logger.Info("ledger imported", zap.Int("rows", done.Rows))
	if err := a.readAnew(r.Context()); err != nil {
		return adminError(http.StatusInternalServerError, fmt.Errorf("%d rows were imported, but the keys cannot be read: restart Caddy: %w", done.Rows, err))
	}
	return writeAdmin(w, importedInfo{Installation: done.Installation, Rows: done.Rows})
}

// readAnew reads the keys of a ledger that was imported or restored, and has the change feed looked at: what is
// remembered of the ledger before is forgotten.
func (a *App) readAnew(ctx context.Context) error {
	return errors.Join(a.keyring.Refresh(ctx, keyStore{a.ledger}), a.access.Poll(ctx))
}

// restoredInfo is what a restored backup holds.
type restoredInfo struct {
	Installation string     `json:"installation"`
	Payments     int        `json:"payments"`
	LastPayment  *time.Time `json:"last_payment,omitempty"`
	Kept         string     `json:"kept,omitempty"` // where the ledger that was replaced is
}

func restoredInfoOf(r ledger.Restored) restoredInfo {
	return restoredInfo{Installation: r.Installation, Payments: r.Payments, LastPayment: optionalTime(r.LastPayment), Kept: r.Kept}
}

// adminRestoreBackup puts a backup, which is the body, in place of the ledger.
func (a *App) adminRestoreBackup(w http.ResponseWriter, r *http.Request) error {
	a.withoutDeadline(w)
	if a.ledger.Path() == "" {
		drain(r)
		return ledgerError(ledger.ErrNoFile)
	}
	if !a.store.sweeps.TryLock() {
		drain(r)
		return ledgerError(errSweeping)
	}
	defer a.store.sweeps.Unlock()
	backup, err := receiveBeside(a.ledger.Path(), r.Body)
	if err != nil {
		drain(r)
		return adminError(http.StatusInternalServerError, fmt.Errorf("receiving the backup: %w", err))
	}
	defer os.Remove(backup) //nolint:errcheck // nothing to be done
	// A swap that has begun is not left half-way because the client is gone.
	ctx := context.WithoutCancel(r.Context())
	restored, err := a.ledger.Restore(ctx, backup)
	if err != nil {
		a.logger.Error("the ledger could not be replaced by a backup", zap.Error(err))
		return ledgerError(&renamedError{err, backup})
	}
	a.logger.Warn("the ledger was replaced by a backup", zap.Int("payments", restored.Payments), zap.String("kept", restored.Kept))
	if err := a.readAnew(ctx); err != nil {
		return adminError(http.StatusInternalServerError, fmt.Errorf("the backup is in place, but cannot be read: restart Caddy: %w", err))
	}
	return writeAdmin(w, restoredInfoOf(restored))
}

// renamedError leaves the name of a temporary file out of a message.
type renamedError struct {
	err  error
	file string
}

func (e *renamedError) Error() string { return strings.ReplaceAll(e.err.Error(), e.file, "the backup") }
func (e *renamedError) Unwrap() error { return e.err }

// drain reads the rest of a body: a client that cannot send all of it does not see the answer.
func drain(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

// receiveBeside stores what is read in a file with mode 0600 beside another.
func receiveBeside(path string, body io.Reader) (name string, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".upload-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(file, body)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// replayRequest is an event that Axra sent, or should have sent.
type replayRequest struct {
	Body []byte `json:"body"` // base64
	// Header are those of the request, if they are known.
	Header http.Header `json:"header,omitempty"`
	// Trust takes a body without a good signature for an event of Axra. The operator
	// answers for it.
	Trust bool `json:"trust,omitempty"`
}

// replayed is what became of it.
type replayed struct {
	Event   string `json:"event"`
	Outcome string `json:"outcome"`
	Session string `json:"session,omitempty"`
	Signed  bool   `json:"signed"`
}

// adminReplay takes an event as if it had come to the webhook.
func (a *App) adminReplay(w http.ResponseWriter, r *http.Request) error {
	var asked replayRequest
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	body, unsigned := a.signedBody(asked)
	if unsigned != nil && !asked.Trust {
		return adminError(http.StatusForbidden, fmt.Errorf("%w; where you know that it comes from Axra, add --trust", unsigned))
	}
	event, err := webhook.Decode(body)
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	outcome, err := a.take(r.Context(), event)
	if err != nil {
		return adminError(http.StatusServiceUnavailable, err)
	}
	if unsigned != nil {
		a.logger.Warn("the operator had an event taken without a good signature",
			zap.String("event", string(event.Type)), zap.String("session", shorten(event.Session)), zap.String("outcome", outcome))
	}
	return writeAdmin(w, replayed{Event: string(event.Type), Outcome: outcome, Session: event.Session, Signed: unsigned == nil})
}

// signedBody is the reading of the body that is signed; without one, the body as it is
// and why it is not.
func (a *App) signedBody(asked replayRequest) (body []byte, unsigned error) {
	for _, reading := range (webhook.Captured{Header: asked.Header, Body: asked.Body}).Bodies() {
		err := a.verifier.Verify(asked.Header, reading.Bytes)
		if err == nil {
			return reading.Bytes, nil
		}
		if unsigned == nil {
			unsigned = err
		}
	}
	return asked.Body, unsigned
}
