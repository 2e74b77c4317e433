package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
)

func (a *API) report(ctx context.Context, request ReportRequest) (Report, error) {
	from, to, err := parseSpan(request.From, request.To)
	if err != nil {
		return Report{}, refuse(http.StatusBadRequest, "%w", err)
	}
	if to.IsZero() {
		to = a.Now().Add(time.Second).Truncate(time.Second) // includes what has just been paid
	}
	found, err := a.Ledger.Report(ctx, from, to)
	if err != nil {
		return Report{}, err
	}
	report := Report{
		From: optionalTime(from), To: to.UTC(), Lines: []ReportLine{},
		Mismatched: found.Mismatched, DoubleCharges: found.DoubleCharges,
	}
	for _, line := range found.Lines {
		sum := func(s ledger.Sum) Sum { return Sum{s.Count, line.Price(s.Minor).Number()} }
		report.Lines = append(report.Lines, ReportLine{
			Site: line.Site, Pass: line.Product, Currency: line.Currency,
			Sales: sum(line.Sales), Refunds: sum(line.Refunds), Disputes: sum(line.Disputes), DisputesLost: sum(line.DisputesLost),
			Net: line.Price(line.Net()).Number(),
		})
	}
	return report, nil
}

// ErrMaintenance means that a sweep, an import or a restore is under way.
var ErrMaintenance = errors.New("a sweep or an import is under way: try again when it has ended")

func (a *API) sweep(ctx context.Context, _ None) (Swept, error) {
	swept, err := a.SweepLedger(ctx)
	return Swept{Purchases: swept.Purchases, Events: swept.Events}, err
}

// SweepLedger deletes purchases whose access ended longer ago than Keep.
func (a *API) SweepLedger(ctx context.Context) (ledger.Swept, error) {
	if a.Keep < 0 {
		return ledger.Swept{}, refuse(http.StatusConflict, "with `keep forever` nothing is swept")
	}
	if !a.Maintenance.TryLock() {
		return ledger.Swept{}, ErrMaintenance
	}
	defer a.Maintenance.Unlock()
	swept, err := a.Database.Sweep(ctx, a.Now().Add(-a.Keep))
	if swept.Purchases > 0 {
		a.Logger.Info("ledger swept", zap.Int("purchases", swept.Purchases))
	}
	return swept, err
}

// export writes the ledger as JSON lines, with the signing keys.
func (a *API) export(w http.ResponseWriter, r *http.Request) error {
	out := a.startDownload(w, "application/jsonl")
	rows, err := a.Database.Export(r.Context(), out)
	if err != nil {
		a.Logger.Error("the ledger could not be exported", zap.Error(err))
		return out.end(err)
	}
	a.Logger.Info("ledger exported", zap.Int("rows", rows))
	w.Header().Set(HeaderRows, strconv.Itoa(rows))
	return out.end(nil)
}

// backup writes a copy of the ledger's file, with the signing keys.
func (a *API) backup(w http.ResponseWriter, r *http.Request) error {
	if a.Database.Path() == "" {
		return ledger.ErrNoFile
	}
	out := a.startDownload(w, "application/vnd.sqlite3")
	if err := a.Database.Backup(r.Context(), out); err != nil {
		a.Logger.Error("the ledger could not be backed up", zap.Error(err))
		return out.end(err)
	}
	a.Logger.Info("ledger backed up", zap.Int64("bytes", out.written))
	return out.end(nil)
}

// download is a body whose checksum follows it.
type download struct {
	w       http.ResponseWriter
	sum     hash.Hash
	written int64
}

func (a *API) startDownload(w http.ResponseWriter, contentType string) *download {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Trailer", HeaderChecksum+", "+HeaderRows)
	if info, err := os.Stat(a.Database.Path()); err == nil { // PostgreSQL has no file
		w.Header().Set(HeaderLedgerSize, strconv.FormatInt(info.Size(), 10))
	}
	return &download{w: w, sum: sha256.New()}
}

func (d *download) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.sum.Write(p[:n])
	d.written += int64(n)
	return n, err
}

// end adds the checksum. An error after the first byte can no longer be reported: the missing checksum tells.
func (d *download) end(err error) error {
	if err == nil {
		d.w.Header().Set(HeaderChecksum, hex.EncodeToString(d.sum.Sum(nil)))
		return nil
	}
	if d.written > 0 {
		return nil
	}
	d.w.Header().Del("Trailer")
	d.w.Header().Del(HeaderLedgerSize)
	return err
}

// drained reads the whole body, also if it is refused: a client that is still sending does not read the answer.
func drained(serve handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := serve(w, r)
		_, _ = io.Copy(io.Discard, r.Body)
		return err
	}
}

// importRows reads an export into the ledger, if that has no payments.
func (a *API) importRows(w http.ResponseWriter, r *http.Request) error {
	if !a.Maintenance.TryLock() {
		return ErrMaintenance
	}
	defer a.Maintenance.Unlock()
	done, err := a.Database.Import(r.Context(), r.Body)
	if err != nil {
		return err
	}
	a.Logger.Info("ledger imported", zap.Int("rows", done.Rows))
	if err := a.Reload(r.Context()); err != nil {
		return fmt.Errorf("%d rows were imported, but the keys cannot be read: restart Caddy: %w", done.Rows, err)
	}
	return writeJSON(w, Imported{Installation: done.Installation, Rows: done.Rows})
}

// restoreBackup puts a backup, which is the body, in place of the ledger.
func (a *API) restoreBackup(w http.ResponseWriter, r *http.Request) error {
	if a.Database.Path() == "" {
		return ledger.ErrNoFile
	}
	if !a.Maintenance.TryLock() {
		return ErrMaintenance
	}
	defer a.Maintenance.Unlock()
	backup, err := receiveBeside(a.Database.Path(), r.Body)
	if err != nil {
		return fmt.Errorf("receiving the backup: %w", err)
	}
	defer os.Remove(backup)                   //nolint:errcheck // nothing to be done
	ctx := context.WithoutCancel(r.Context()) // a client that leaves must not stop a swap half-way
	restored, err := a.Database.Restore(ctx, backup)
	if err != nil {
		a.Logger.Error("the ledger could not be replaced by a backup", zap.Error(err))
		return &renamedError{err, backup}
	}
	a.Logger.Warn("the ledger was replaced by a backup", zap.Int("payments", restored.Payments), zap.String("kept", restored.Kept))
	if err := a.Reload(ctx); err != nil {
		return fmt.Errorf("the backup is in place, but cannot be read: restart Caddy: %w", err)
	}
	return writeJSON(w, RestoredFrom(restored))
}

// renamedError leaves the name of a temporary file out of a message.
type renamedError struct {
	err  error
	file string
}

func (e *renamedError) Error() string { return strings.ReplaceAll(e.err.Error(), e.file, "the backup") }
func (e *renamedError) Unwrap() error { return e.err }

// receiveBeside stores a body in a file with mode 0600 beside another file.
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
