package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
)

// download calls an operation whose answer goes to a file, or to the standard output.
func download(cmd *cobra.Command, o admin.Operation, name string) error {
	response, err := call(cmd, o, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body := &progress{Reader: response.Body, terminal: cmd.ErrOrStderr()}
	if name == "-" {
		_, err = io.Copy(cmd.OutOrStdout(), body)
		return err
	}
	if err := writeWhole(name, body); err != nil {
		return err
	}
	written := map[string]any{"file": name, "bytes": body.bytes}
	return printAnswer(cmd, written, func(p printer, _ map[string]any) { p.line("%s written to %s", FormatBytes(body.bytes), name) })
}

// writeWhole writes a file with mode 0600, and puts it in place only when it is complete and on disk.
func writeWhole(name string, content io.Reader) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it was renamed if all went well
	_, err = io.Copy(file, content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

// upload calls an operation whose request is a file, or the standard input.
func upload(cmd *cobra.Command, o admin.Operation, name string) error {
	input := cmd.InOrStdin()
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the operator names it
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // it was only read
		input = file
	}
	// A copy of a ledger in use lacks what is in its write-ahead log.
	if info, err := os.Stat(name + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("%s-wal belongs to it, so it is no backup: make one with caddy axra backup", name)
	}
	response, err := call(cmd, o, &progress{Reader: input, terminal: cmd.ErrOrStderr()})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return printBody(cmd, o, response.Body)
}

// progress shows on a terminal how much was read.
type progress struct {
	io.Reader

	terminal io.Writer
	bytes    int64
	shown    time.Time
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.bytes += int64(n)
	if isTerminal(p.terminal) && (err != nil || time.Since(p.shown) > time.Second/2) {
		p.shown = time.Now()
		fmt.Fprintf(p.terminal, "\r\x1b[K%s\r", FormatBytes(p.bytes))
	}
	return n, err
}
