package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"time"

	"github.com/caddy-axra/paywall/internal/bulk"
	"github.com/caddy-axra/paywall/ledger"
)

// figures are what was measured at one size, by the name of the row.
type figures map[string]float64

// The rows of the table, in their order, with what their figures are.
var rows = []struct {
	name string
	show func(float64) string
}{
	{rowFiles, number},
	{rowFolders, number},
	{rowBytes, size},
	{rowDisk, size},
	{rowRecord, duration},
	{rowFilesStored, duration},
	{rowGrant, duration},
	{rowGrantAgain, duration},
	{rowFilesRead, duration},
	{rowFilesAgain, duration},
	{rowPaid, duration},
	{rowWebhook, duration},
	{rowRedemption, duration},
	{rowStart, duration},
	{rowStartEmpty, duration},
	{rowList, duration},
	{rowReport, duration},
	{rowExport, duration},
	{rowExportSize, size},
	{rowSweep, duration},
	{rowSwept, number},
	{rowMemory, size},
}

const (
	rowFiles      = "files"
	rowFolders    = "folders"
	rowBytes      = "content"
	rowDisk       = "on disk"
	rowRecord     = "a payment is recorded"
	rowGrant      = "a grant is looked up"
	rowGrantAgain = "… again"

	rowFilesStored = "files like its are stored, by themselves"
	rowFilesRead   = "its files are read, by themselves"
	rowFilesAgain  = "… and again"

	rowPaid       = "Caddy: a paid request"
	rowWebhook    = "Caddy: a webhook"
	rowRedemption = "Caddy: a redemption"
	rowStart      = "Caddy: start to the first answer"
	rowStartEmpty = "… with an empty ledger"

	rowList       = "list all payments"
	rowReport     = "report of a year"
	rowExport     = "export"
	rowExportSize = "size of the export"
	rowSweep      = "sweep, 1 % has ended"
	rowSwept      = "records swept"
	rowMemory     = "memory of the process"
)

// Operations that are too short to be measured alone are measured so often.
const (
	records = 200
	grants  = 5000
)

func (s *shop) measure(ctx context.Context) (figures, error) {
	measured := make(figures)
	for _, each := range []func(context.Context, figures) error{
		s.space, s.record, s.grant, s.files, s.visits, s.start, s.list, s.report, s.export, s.sweep,
	} {
		if err := each(ctx, measured); err != nil {
			return nil, err
		}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	measured[rowMemory] = float64(memory.Sys - memory.HeapReleased)
	return measured, nil
}

// timed is how long something takes.
func timed(do func() error) (float64, error) {
	began := time.Now()
	err := do()
	return float64(time.Since(began)), err
}

func (s *shop) space(ctx context.Context, measured figures) error {
	return filepath.WalkDir(s.folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		measured[rowDisk] += float64(allocated(info))
		if entry.IsDir() {
			measured[rowFolders]++
			return ctx.Err()
		}
		measured[rowFiles]++
		measured[rowBytes] += float64(info.Size())
		return nil
	})
}

// next numbers a payment that is made while measuring.
func (s *shop) next() int {
	s.extra++
	return maxPayments + s.extra
}

func (s *shop) record(ctx context.Context, measured figures) error {
	took, err := timed(func() error {
		for range records {
			if _, err := s.real.Record(ctx, s.fact(ledger.Paid, s.next(), s.now)); err != nil {
				return err
			}
		}
		return nil
	})
	measured[rowRecord] = took / records
	return err
}

// grant looks up random payments, and the same again: the first time their files may have
// to come from the disk.
func (s *shop) grant(ctx context.Context, measured figures) error {
	chosen := make([]int, grants)
	for i := range chosen {
		chosen[i] = rand.IntN(s.filled) //nolint:gosec // which ones is no secret
	}
	for _, row := range []string{rowGrant, rowGrantAgain} {
		took, err := timed(func() error {
			for _, n := range chosen {
				if _, err := s.real.Grant(ctx, bulk.SessionID(n)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		measured[row] = took / grants
	}
	return nil
}

func (s *shop) list(ctx context.Context, measured figures) (err error) {
	seen := 0
	measured[rowList], err = timed(func() error {
		var trouble error
		err := s.real.Purchases(ctx, ledger.Filter{}, func(ledger.Grant) error { seen++; return nil },
			func(err error) { trouble = err })
		if err != nil {
			return err
		}
		return trouble
	})
	if err == nil && seen < s.filled {
		return fmt.Errorf("%d of %d payments are listed", seen, s.filled)
	}
	return err
}

func (s *shop) report(ctx context.Context, measured figures) error {
	var report ledger.Report
	took, err := timed(func() (err error) {
		report, err = s.real.Report(ctx, s.now.Add(-365*24*time.Hour), s.now.Add(time.Hour))
		return err
	})
	measured[rowReport] = took
	if err == nil && (len(report.Lines) != 1 || report.Lines[0].Sales.Count < s.filled) {
		return fmt.Errorf("the report of %d payments is %+v", s.filled, report)
	}
	return err
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (s *shop) export(ctx context.Context, measured figures) error {
	var size counter
	took, err := timed(func() error {
		_, err := s.real.Export(ctx, &size, s.sold.Installation, s.now)
		return err
	})
	measured[rowExport], measured[rowExportSize] = took, float64(size)
	return err
}

// sweep adds payments that are long over, and deletes them.
func (s *shop) sweep(ctx context.Context, measured figures) error {
	over := max(s.filled/100, 1)
	for range over {
		if err := s.sell(ctx, s.next(), s.now.Add(-ledger.DefaultKeep-2*access)); err != nil {
			return err
		}
	}
	var swept ledger.Swept
	took, err := timed(func() (err error) {
		swept, err = s.real.Sweep(ctx, s.now, ledger.DefaultKeep)
		return err
	})
	measured[rowSweep], measured[rowSwept] = took, float64(swept.Deleted)
	if err == nil && (swept.Purchases != over || swept.Kept < s.filled) {
		return fmt.Errorf("of %d payments that are over, and %d that are not, the sweep says %+v", over, s.filled, swept)
	}
	return err
}
