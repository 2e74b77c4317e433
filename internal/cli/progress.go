package cli

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

// progress is a line on a terminal that shows that a command is at work.
type progress struct {
	what  string
	start time.Time
	done  atomic.Int64 // bytes
	total atomic.Int64 // bytes, about; 0: not known
}

// Progress appears after progressDelay, so a quick command shows none.
const (
	progressDelay = 500 * time.Millisecond
	progressEvery = 200 * time.Millisecond
)

// withProgress shows progress on the standard error, if that is a terminal, while do runs.
func withProgress(cmd *cobra.Command, what string, do func(*progress) error) error {
	p := &progress{what: what, start: time.Now()}
	if out := cmd.ErrOrStderr(); what != "" && isTerminal(out) {
		defer p.show(out, progressDelay, progressEvery)()
	}
	return do(p)
}

// show draws the line again and again until stop, which removes it.
func (p *progress) show(out io.Writer, delay, every time.Duration) (stop func()) {
	ended := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		for wait := delay; ; wait = every {
			select {
			case <-ended:
				fmt.Fprint(out, "\r\x1b[K")
				return
			case <-time.After(wait):
				fmt.Fprint(out, "\r\x1b[K"+p.line())
			}
		}
	})
	return func() {
		close(ended)
		drawing.Wait()
	}
}

// line is such as "backing up: 12.0 MB of about 400.0 MB, 3s".
func (p *progress) line() string {
	line := p.what + ": "
	if done := p.done.Load(); done > 0 {
		line += FormatBytes(done)
		if total := p.total.Load(); total >= done {
			line += " of about " + FormatBytes(total)
		}
		line += ", "
	}
	return line + time.Since(p.start).Truncate(time.Second).String()
}

// reader counts what is read.
func (p *progress) reader(r io.Reader) io.Reader { return countingReader{r, &p.done} }

type countingReader struct {
	r    io.Reader
	done *atomic.Int64
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done.Add(int64(n))
	return n, err
}
