package loglimit_test

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-axra/paywall/internal/loglimit"
)

func TestEachMessageIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	limiter := loglimit.New(func() time.Time { return now })
	core, logged := observer.New(zap.ErrorLevel)
	logger := zap.New(core)
	for _, step := range []struct {
		after   time.Duration
		message string
		logged  bool
	}{
		{0, "a", true},
		{0, "a", false},
		{0, "b", true}, // one message does not hide another
		{59 * time.Second, "a", false},
		{time.Second, "a", true},
		{time.Second, "b", true},
		{0, "a", false},
	} {
		now = now.Add(step.after)
		limiter.Error(logger, step.message)
		if got := len(logged.TakeAll()) == 1; got != step.logged {
			t.Errorf("%q is logged: %t, want %t", step.message, got, step.logged)
		}
	}
	limiter.Error(logger, "c", zap.Int("n", 1))
	if entry := logged.TakeAll()[0]; entry.Level != zap.ErrorLevel || entry.ContextMap()["n"] != int64(1) {
		t.Errorf("logged %+v", entry)
	}
}
