// Command cluster runs two nodes with the paywall plugin on one ledger, behind a Caddy that balances the
// load, and a sandbox that stands in for Axra:
//
//	go run ./example/cluster
//
// The ledger is an SQLite file, or a PostgreSQL database where there is a URL in the environment. The tables are
// made in a schema "axra" of that database:
//
//	AXRA_DATABASE_URL=postgres://user:password@localhost/test go run ./example/cluster
//
// The configurations, balancer.caddyfile and node.caddyfile, are ones to start from. Each Caddy is a process
// of its own: this program, started again.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

//go:embed site
var site embed.FS

// databaseVariable names the environment variable with the URL of a PostgreSQL database. The nodes read it too.
const databaseVariable = "AXRA_DATABASE_URL"

// addresses are where the parts of the cluster listen.
type addresses struct{ site, axra, nodeA, nodeB string }

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		exitWith(serve(role, os.Stdin, os.Stdout))
	}
	defaultData := filepath.Join(os.TempDir(), "axra-paywall-cluster")
	if cache, err := os.UserCacheDir(); err == nil {
		defaultData = filepath.Join(cache, "axra-paywall-cluster")
	}
	var at addresses
	data := flag.String("data", defaultData, "folder for the site, the sandbox's state and, without "+databaseVariable+", the ledger")
	flag.StringVar(&at.site, "site", "localhost:8402", "address of the site, which is the balancer's")
	flag.StringVar(&at.axra, "axra", "localhost:8403", "address of the Axra sandbox")
	flag.StringVar(&at.nodeA, "node-a", "localhost:8404", "address of the first node")
	flag.StringVar(&at.nodeB, "node-b", "localhost:8405", "address of the second node")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *data, os.Getenv(databaseVariable), at)
	stop()
	exitWith(err)
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run starts all, and ends all when the context ends, when the balancer ends or when no
// node is left.
func run(ctx context.Context, out io.Writer, data, databaseURL string, at addresses) error {
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	db, err := chooseDatabase(data, databaseURL)
	if err != nil {
		return err
	}
	for _, address := range []string{at.site, at.axra, at.nodeA, at.nodeB} {
		if err := isFree(address); err != nil {
			return err
		}
	}
	if err := unpackSite(filepath.Join(data, "site")); err != nil {
		return fmt.Errorf("writing the example's site: %w", err)
	}
	axra, err := startSandbox(ctx, data, at)
	if err != nil {
		return err
	}
	defer axra.stop()
	group := newGroup(environment(data, db, at))
	defer group.stop()
	nodes := []*child{group.start("node", "A", port(at.nodeA)), group.start("node", "B", port(at.nodeB))}
	balancer := group.start("balancer", "", "")
	if err := group.ready(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, `
  The site           http://%s   (the balancer, process %d)
  Node A             http://%s   (process %d)
  Node B             http://%s   (process %d)
  The Axra sandbox   http://%s   (payments, refunds, faults)
  Test card          4242 4242 4242 4242, any future date, any CVV
  Ledger             %s   (purchases and signing keys; both nodes use it)

  Buy     Open the site, choose the premium page, pay with the test card. Reload: both nodes let you in.
  Stop    kill %d ends node A. You are still in.
  Refund  Open the sandbox, refund the payment, reload: it is closed on both.

  Ctrl-C ends it all.

`, at.site, balancer.pid(), at.nodeA, nodes[0].pid(), at.nodeB, nodes[1].pid(), at.axra, db.location, nodes[0].pid())
	return watch(ctx, out, balancer, nodes)
}

// watch reports nodes that end, and returns when there is nothing left to show.
func watch(ctx context.Context, out io.Writer, balancer *child, nodes []*child) error {
	a, b := nodes[0].ended, nodes[1].ended
	for a != nil || b != nil {
		select {
		case <-ctx.Done():
			fmt.Fprintln(out, "Stopping.")
			return nil
		case <-balancer.ended:
			return fmt.Errorf("the balancer has ended: %w", balancer.err)
		case <-a:
			a = nil
			fmt.Fprintln(out, "Node A has ended.")
		case <-b:
			b = nil
			fmt.Fprintln(out, "Node B has ended.")
		}
	}
	return fmt.Errorf("no node is left: %w", nodes[1].err)
}

// database is where the nodes keep the ledger.
type database struct {
	option   string // of the Caddyfile
	location string // for people, without a password
}

func chooseDatabase(data, databaseURL string) (database, error) {
	if databaseURL == "" {
		path := filepath.Join(data, "ledger.db")
		return database{fmt.Sprintf("sqlite %q", filepath.ToSlash(path)), path}, nil
	}
	location, err := ledger.CheckURL(databaseURL)
	if err != nil {
		return database{}, fmt.Errorf("%s: %w", databaseVariable, err)
	}
	return database{"postgres {env." + databaseVariable + "}", location}, nil
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address) // somebody has listened there already
	return port
}

// environment is what the configurations read.
func environment(data string, db database, at addresses) []string {
	return append(os.Environ(),
		"CLUSTER_DATA="+filepath.ToSlash(data), "CLUSTER_DATABASE="+db.option,
		"CLUSTER_SITE="+at.site, "CLUSTER_AXRA="+at.axra,
		"CLUSTER_NODE_A="+at.nodeA, "CLUSTER_NODE_B="+at.nodeB,
		// The sandbox's credentials. Yours come from your Axra account.
		"AXRA_API_KEY=bk_test_sandbox", "AXRA_WEBHOOK_SECRET=bs_test_sandbox",
	)
}

// isFree reports an address that is taken: Caddy shares ports with other Caddys, which
// would answer half of the requests.
func isFree(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s is in use: end what runs there, or choose others with -site, -axra, -node-a and -node-b (%w)", address, err)
	}
	return listener.Close()
}

// stopTimeout bounds how long each part may take to end.
const stopTimeout = 10 * time.Second
