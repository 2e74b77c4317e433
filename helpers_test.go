package paywall_test

import (
	"os"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/internal/sitetest"
)

const (
	article     = "/premium/article.html"
	receiptPage = article + "?axra_receipt"
	deviceLink  = "Link for the other device"
	day         = 24 * time.Hour
)

func TestMain(m *testing.M) {
	data, err := os.MkdirTemp("", "paywall-*")
	if err != nil {
		panic(err)
	}
	// A test that names no database must not touch the ledger of who runs it.
	os.Setenv("XDG_DATA_HOME", data)
	code := m.Run()
	pgtest.Stop()
	os.RemoveAll(data)
	os.Exit(code)
}

// newWorld runs a site with this plugin.
func newWorld(t testing.TB, options sitetest.Options) *sitetest.World {
	t.Helper()
	return sitetest.New(t, sitetest.Plugin{
		SetClock: paywall.SetClock, PollFeeds: paywall.PollFeeds, NewCommand: paywall.NewCommand, RunningLedger: paywall.RunningLedger,
	}, options)
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
