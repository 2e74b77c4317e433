package paywall

import (
	"strings"
	"time"
)

// ShowProgress returns what a terminal gets of a command that has done a part of its work.
func ShowProgress(what string, done, total int64) string {
	var out strings.Builder
	shown := newProgress(&out, what, 0, time.Hour)
	shown.done.Store(done)
	shown.total.Store(total)
	time.Sleep(50 * time.Millisecond)
	shown.end()
	return out.String()
}
