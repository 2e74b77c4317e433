package cli

import (
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
)

func giveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "give <address> [--pass <name>] [--for <time>] [--devices <n>] [--key <key>] [--like <purchase>] [--note <why>]",
		Short: "Gives access without a payment, and prints the link to it",
		Long: `
Gives access to a site's pass, for reviewers, prizes and support, and prints a link that opens it at
the address, in as many browsers as --devices says. The link works for 7 days; the access lasts as long as
the pass does, or as --for says. With --like it gives what another purchase opens, for as long as that
one has left: for a buyer who has lost all devices.`,
		Example: "  caddy axra give https://example.com/premium/ --for 30d --note \"review copy\"",
		Args:    cobra.ExactArgs(1),
	}
	var request admin.GiveRequest
	flags := cmd.Flags()
	flags.StringVar(&request.Pass, "pass", "", "Name of the pass, if the site sells several")
	flags.StringVar(&request.For, "for", "", "How long access lasts: 30d, 12h, forever (default: as it is sold)")
	request.Devices = flags.Int("devices", 1, "In how many browsers it may be opened")
	flags.StringVar(&request.Key, "key", "", "Which one, if the pass is sold by a key")
	flags.StringVar(&request.Like, "like", "", "Purchase whose terms are given")
	flags.StringVar(&request.Note, "note", "", "Why, for whoever looks it up later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		request.URL = args[0]
		return run(cmd, admin.Give, request, printLink)
	}
	return cmd
}

func linkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "link <purchase> [<address>] [--for <time>] [--direct]",
		Short: "Makes a link by which a purchase is opened or downloaded elsewhere",
		Long: `
Makes a link that opens a purchase at an address of its site, in one more browser; the page there asks
first. Without an address it is the path that was bought. With --direct the link opens that one address by
itself, for whoever has it, as often as the purchase allows: for download managers and podcast players. The
gate must have links on.`,
		Args: cobra.RangeArgs(1, 2),
	}
	var request admin.LinkRequest
	cmd.Flags().StringVar(&request.For, "for", "", "How long the link works (default 7d)")
	cmd.Flags().BoolVar(&request.Direct, "direct", false, "Without a click and a cookie")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		request.ID = args[0]
		if len(args) > 1 {
			request.URL = args[1]
		}
		return run(cmd, admin.MakeLink, request, printLink)
	}
	return cmd
}

func printLink(p printer, link admin.Link) {
	p.line("%s", link.Link)
	p.note("opens %s; the link works until %s UTC. Whoever has it can use it.", admin.Reference(link.Purchase), inUTC(&link.Expires))
}
