// Command example runs the whole of it in one process: Caddy with the paywall
// plugin in front of a small site, and a sandbox that stands in for Axra.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/unpack"
)

//go:embed Caddyfile
var configuration []byte

//go:embed site
var site embed.FS

func main() {
	defaultData := filepath.Join(os.TempDir(), "axra-paywall-example")
	if cache, err := os.UserCacheDir(); err == nil {
		defaultData = filepath.Join(cache, "axra-paywall-example")
	}
	if len(os.Args) > 1 && os.Args[1] == "axra" {
		operate()
		return
	}
	data := flag.String("data", defaultData, "folder for the ledger, the site and the sandbox's state")
	siteAddr := flag.String("site", "localhost:8402", "address of the site")
	axraAddr := flag.String("axra", "localhost:8403", "address of the Axra sandbox")
	adminAddr := flag.String("admin", defaultAdmin, "address of Caddy's admin API")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "example: unknown argument %q: operators write `go run ./example axra list`\n", flag.Arg(0))
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *data, *siteAddr, *axraAddr, *adminAddr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

const defaultAdmin = "localhost:8405"

// operate is `caddy axra` on the example that runs. `check` needs no running Caddy.
func operate() {
	if !slices.Contains(os.Args, "check") && !slices.Contains(os.Args, "--address") {
		os.Args = append(os.Args, "--address", defaultAdmin)
	}
	caddycmd.Main()
}

// addressFlag is what the commands need to find another admin API than the usual one.
func addressFlag(adminAddr string) string {
	if adminAddr == defaultAdmin {
		return ""
	}
	return " --address " + adminAddr
}

// run serves until the context ends.
func run(ctx context.Context, out io.Writer, data, siteAddr, axraAddr, adminAddr string) error {
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	if err := unpackSite(filepath.Join(data, "site")); err != nil {
		return fmt.Errorf("writing the example's site: %w", err)
	}
	ledger := filepath.Join(data, "ledger.db")
	for name, value := range map[string]string{
		"EXAMPLE_DATA":   filepath.ToSlash(data),
		"EXAMPLE_LEDGER": filepath.ToSlash(ledger),
		"EXAMPLE_SITE":   siteAddr,
		"EXAMPLE_AXRA":   axraAddr,
		"EXAMPLE_ADMIN":  adminAddr,
		// The sandbox's credentials. Yours come from your Axra account.
		"AXRA_API_KEY":        "bk_test_sandbox",
		"AXRA_WEBHOOK_SECRET": "bs_test_sandbox",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	for _, address := range []string{siteAddr, axraAddr, adminAddr} {
		if err := isFree(address); err != nil {
			return err
		}
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(configuration, map[string]any{"filename": "example/Caddyfile"})
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		fmt.Fprintln(out, "warning:", warning)
	}
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	fmt.Fprintf(out, `
  The site           http://%s
  The Axra sandbox   http://%s   (payments, refunds, faults)
  Test card          4242 4242 4242 4242, any future date, any CVV
  Ledger             %s   (purchases and signing keys, in SQLite)

  Open the site, choose "Spring tides, explained", pay with the test card.
  List what was bought:  go run ./example axra list%s
  Stop it with Ctrl-C. Start it again with the same data, and you are still in.

`, siteAddr, axraAddr, ledger, addressFlag(adminAddr))
	<-ctx.Done()
	fmt.Fprintln(out, "Stopping.")
	return caddy.Stop()
}

// isFree reports an address that is taken: Caddy shares ports with other Caddys, so
// that a second example would answer half of the first one's requests.
func isFree(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s is in use: end what runs there, or choose others with -site, -axra and -admin (%w)", address, err)
	}
	return listener.Close()
}

// unpackSite writes the embedded site to a folder that Caddy can serve.
func unpackSite(to string) error {
	files, err := fs.Sub(site, "site")
	if err != nil {
		return err
	}
	return unpack.To(to, files)
}
