// Package bulk makes many payments quickly, for the programs that measure.
package bulk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/caddyserver/certmagic"
	"golang.org/x/sync/errgroup"
)

// Storage is a file storage that leaves it to the system when records reach the disk.
type Storage struct{ *certmagic.FileStorage }

// Store writes the file in place.
func (s Storage) Store(_ context.Context, key string, value []byte) error {
	name := s.Filename(key)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, value, 0o600)
}

// SessionID is the id of a session by its number, as long as Axra's are.
func SessionID(n int) string { return fmt.Sprintf("cs_%026d", n) }

// PaymentID is the id of the payment of a session by its number, as long as Axra's are.
func PaymentID(n int) string { return fmt.Sprintf("bpay_%026d", n) }

// Each calls do for the numbers from first up to before end, several at a time, until one
// call fails or the context ends.
func Each(ctx context.Context, first, end int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		group.Go(func() error {
			for n := first + worker; n < end; n += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(ctx, n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}
