package paywall

import (
	"fmt"

	"github.com/spf13/cobra"
)

func giveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "give <address> [--pass <name>] [--for <time>] [--devices <n>] [--key <key>] [--like <purchase>] [--note <why>]",
		Short: "Gives access without a payment, and prints the link to it",
		Long: `
Gives access to a site's pass, for reviewers, prizes and support, and prints a link that opens it at
the address, in as many browsers as --devices says. The link works for 7 days; the access as long as
the pass does, or as --for says. With --like it gives what another purchase has opened, for as long as that
one has left: for who has lost all devices.`,
		Example: "  caddy axra give https://example.com/premium/ --for 30d --note \"review copy\"",
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.String("pass", "", "Name of the pass, if the site sells several")
	flags.String("for", "", "How long access lasts: 30d, 12h, forever (default as it is sold)")
	flags.Int("devices", 1, "In how many browsers it may be opened")
	flags.String("key", "", "Which one, of what is sold by a key")
	flags.String("like", "", "Purchase whose terms are given")
	flags.String("note", "", "Why, for who looks it up later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := giveRequest{URL: args[0]}
		for name, into := range map[string]*string{"pass": &asked.Pass, "for": &asked.For, "key": &asked.Key, "like": &asked.Like, "note": &asked.Note} {
			*into, _ = cmd.Flags().GetString(name)
		}
		devices, _ := cmd.Flags().GetInt("devices")
		asked.Devices = &devices
		return printLink(cmd, "give", asked)
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
	cmd.Flags().String("for", "", "How long the link works (default 7d)")
	cmd.Flags().Bool("direct", false, "Without a click and a cookie")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := linkRequest{ID: args[0]}
		if len(args) > 1 {
			asked.URL = args[1]
		}
		asked.For, _ = cmd.Flags().GetString("for")
		asked.Direct, _ = cmd.Flags().GetBool("direct")
		return printLink(cmd, "link", asked)
	}
	return cmd
}

func printLink(cmd *cobra.Command, call string, asked any) error {
	var got opened
	if err := postAdmin(cmd, call, asked, &got); err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd, got)
	}
	fmt.Fprintln(cmd.OutOrStdout(), got.Link)
	fmt.Fprintf(cmd.ErrOrStderr(), "opens %s; the link works until %s UTC. Whoever has it can use it.\n", clean(reference(got.Purchase)), inUTC(&got.Expires))
	return nil
}
