package paywall

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// progressLine shows on a terminal that a command is at work. Elsewhere it shows nothing.
type progressLine struct {
	out   io.Writer // nil: no terminal
	what  string
	start time.Time
	done  atomic.Int64 // bytes
	total atomic.Int64 // bytes, about; 0: not known
	stop  chan struct{}
	ended sync.WaitGroup
}

// Progress appears after progressDelay, so that a quick command shows none.
const (
	progressDelay = 500 * time.Millisecond
	progressEvery = 200 * time.Millisecond
)

// startProgress shows progress on the standard error of a command, until end.
func startProgress(cmd *cobra.Command, what string) *progressLine {
	out := cmd.ErrOrStderr()
	if !isTerminal(out) {
		out = nil
	}
	return newProgress(out, what, progressDelay, progressEvery)
}

func newProgress(out io.Writer, what string, delay, every time.Duration) *progressLine {
	p := &progressLine{out: out, what: what, start: time.Now(), stop: make(chan struct{})}
	if out == nil {
		return p
	}
	p.ended.Go(func() {
		for wait := delay; ; wait = every {
			select {
			case <-p.stop:
				return
			case <-time.After(wait):
				fmt.Fprint(p.out, "\r\x1b[K"+p.line())
			}
		}
	})
	return p
}

// line is what is shown: "backing up: 12 MB of about 400 MB, 3 s".
func (p *progressLine) line() string {
	line := p.what + ": "
	if done := p.done.Load(); done > 0 {
		line += inBytes(done)
		if total := p.total.Load(); total >= done {
			line += " of about " + inBytes(total)
		}
		line += ", "
	}
	return line + time.Since(p.start).Truncate(time.Second).String()
}

func inBytes(n int64) string {
	switch {
	case n < 1_000_000:
		return fmt.Sprintf("%d kB", (n+999)/1000)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	}
}

// end takes the line away.
func (p *progressLine) end() {
	close(p.stop)
	p.ended.Wait()
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// reader counts what is read.
func (p *progressLine) reader(r io.Reader) io.Reader { return countingReader{r, &p.done} }

type countingReader struct {
	r    io.Reader
	done *atomic.Int64
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done.Add(int64(n))
	return n, err
}

func isTerminal(out io.Writer) bool {
	file, isFile := out.(*os.File)
	if !isFile {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
