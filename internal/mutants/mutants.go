package main

// mutant is one way to break a package, and the tests of the package that must notice.
type mutant struct {
	name   string // begins with the threats and cases that it is about, if they have ids
	folder string
	tests  string // as for go test -run
	code   string // a regular expression; it matches once in the package, whatever the file and local names are called
	broken string // what takes its place
}

var mutants = []mutant{
	// Webhooks: only Axra grants access.
	{
		"W1 any signature will do", "webhook", "TestForged|TestW1",
		`(\w+) != 1 (\{\s+return fmt\.Errorf\("%w: no configured secret)`, `$1 > 1 $2`,
	},
	{"W1 an empty secret signs", "webhook", "TestForged|TestAVerifier", `len\((\w+)\) == 0 (\{\s+continue\b)`, `len($1) < 0 $2`},
	{"W3 only the first secret counts", "webhook", "TestGenuine", `range (\w+)\.Secrets \{(\s+if len)`, `range $1.Secrets[:1] {$2`},
	{"W4 a part of the body passes for a time", "webhook", "TestForged", ` \|\| !isPlain\((\w+)\) \{`, ` {`},
	{"W1 the signature is not checked", ".", "TestW1", `(err := [\w.]+\.Verify\(\w+\.Header, (\w+)\); err != nil) \{`, `$1 && len($2) == 0 {`},
	{"W5 a body of any size is read", ".", "TestW5", `(http\.MaxBytesReader\(\w+, \w+\.Body), \w+\)`, `$1, 1<<30)`},
	{"D1 acknowledged though not stored", ".", "TestD1", `return http\.StatusServiceUnavailable, (outcome)`, `return http.StatusOK, $1`},
	{
		"D1 a payment that was not stored counts", "internal/payments", "TestD1",
		`(\w+\.RecordPayment\(.*\)\s+if err != nil \{\s+return) "", err`, `$1 Paid, nil`,
	},
	{
		"W8 events of another installation count", "internal/payments", "TestW8",
		`(ok \{\s+return) (\w+) != (\w+)`, `$1 $2 == $3[:0]`,
	},
	{
		"W9 the amount is not compared", "internal/payments", "TestW8W9",
		`(\w+\.AmountError != nil) \|\| !\w+\.Price\.CoveredBy\(\w+\.Paid\)`, `$1`,
	},
	{"W9 the currency is not compared", "money", "TestW9", `strings\.EqualFold\(.*\) && (.* >= 0)`, `$1`},
	{"W6 an event whose purchase was swept opens again", "internal/payments", "TestW6", `(\.Sub\([\w.]+\)) > (\w+\.Keep)\b`, `$1 < -$2`},

	// The ledger: what was paid, once, for as long as it stands.
	{
		"D1 acknowledged whatever the commit says", "ledger", "TestD1|TestK1",
		`(range \w+\[:ran\] \{\s+\w+\.done <- )err`, `${1}nil`,
	},
	{"W7 a refund closes nothing", "ledger", "TestW7", `case (\w+)\[EventRefunded\], `, `case `},
	{
		"W7 a refund before its payment is lost", "ledger", "TestW7",
		`(x\.external_id) = (i\.payment_id)(\s+\) named)`, `$1 = $2 AND 1 = 2$3`,
	},
	{
		"W9 a mismatched payment opens", "ledger", "TestW7|TestAPurchaseSays",
		`(if \w+ == )Active && (\w+\.Mismatch \{)`, `${1}Disputed && $2`,
	},
	{
		"W6 an extension stands alone", "ledger", "TestW7|TestALateWebhook|TestRecordedEvents",
		`(if \w+\.Terms\.Extends) != "" \{(\s+return)`, `$1 == "none" {$2`,
	},
	{"a double charge is not told of", "ledger", "TestDoubleCharges", `(if !\w+ && len\(\w+\)) > 1 \{`, `$1 > 9 {`},
	{"T7 other nodes do not hear of a refund", "ledger", "TestT7", `\w+\.advanceFeed\((\w+), (\w+\.ID)\)`, `$1.touches($2)`},
	{
		"FC5 a download more than was sold", "ledger", "TestDownloadWindows",
		`downloads_used < (\w+\.)?download_limit`, `downloads_used <= ${1}download_limit`,
	},
	{"S3 a device more than was sold", "ledger", "TestDevices", `device_limit > (\(\s+SELECT COUNT)`, `device_limit >= $1`},
	{
		"S3 two browsers take over one purchase", "ledger", "TestClaims",
		`(if \w+ != "" && \w+ != \w+\.ID) (\{\s+return ErrNoneLeft)`, `$1 && false $2`,
	},

	// Access tokens: nothing but our own keys opens.
	{
		"T1 any header leads to a key", "token", "TestDenied",
		`(\w+), (\w+) := (\w+)\.heads\[(\w+)\](\s+if .* \|\| \w+\.typ != (\w+) \{)`,
		`$1, $2 := $3.heads[$4]; for _, other := range $3.heads { if !$2 && other.typ == $6 { $1, $2 = other, true } }$5`,
	},
	{
		"T3 a token that has ended is valid", "token", "TestDenied|TestATokenThatEnded",
		`case \w+\.Before\((\w+)\.Expires\):`, `case !$1.Expires.IsZero():`,
	},
	{"T4 a token opens other sites", "token", "TestDenied", `jwt\.WithAudience\(\w+\), `, ``},
	{"T4 a token opens other installations", "token", "TestDenied", `\w+\.Issuer != issuer\((\w+)\)`, `$1 == nil`},
	{"T6 one kind of token passes for another", "token", "TestT6", ` \|\| \w+\.typ != typ \{`, ` {`},
	{
		"a removed key comes back", "token", "TestARemovedKey",
		`(\w+)\.storage\.Lock\(\)\s+defer \w+\.storage\.Unlock\(\)(\s+\w+, err := store\.Keys\()`, `$2`,
	},
	{
		"secret keys are published", "token", "TestPublicKeys",
		`(\w+), ok := (\w+)\.verifying\.\(ed25519\.PublicKey\)`, `$1, ok := ed25519.PublicKey($2.derived[Link]), true`,
	},

	// Access: what this node knows of purchases.
	{"T1 the end of a signature is enough", "internal/access", "TestTokens|TestATokenIs", ` \|\| \w+\.raw != raw \{`, ` {`},
	{
		"T3 a token outlives its access", "internal/access", "TestDecisions",
		`!\w+\.Before\((\w+)\.Expires\) (\{\s+return None)`, `$1.Expires.IsZero() $2`,
	},
	{
		"T4 T6 a remembered token opens what it is not for", "internal/access", "TestTokens|TestPrivate",
		`case \w+\.Site != \w+ \|\| \w+\.Link != "":`, `case false:`,
	},
	{
		"T7 a removed key's tokens are remembered", "internal/access", "TestTokens",
		`!\w+\.options\.Keys\.Knows\((\w+)\.Key\) (\{\s+return nil)`, `$1.Key == "" $2`,
	},
	{"T7 a refund closes nothing", "internal/access", "TestDecisions", `(\w+ := \w+\.decision\(.*\); \w+) != Open \{`, `$1 == None {`},
	{"S3 a device that was removed stays in", "internal/access", "TestDecisions", `, \w+\.Link == "" && !\w+\.hasDevice:`, `:`},
	{
		"D3 buyers are served for ever while the ledger fails", "internal/access", "TestDecisions|TestEachToken|TestNothing",
		`if age > \w+\.Grace `, `if age < 0 `,
	},
	{
		"D3 buyers are turned away at once while the ledger fails", "internal/access", "TestDecisions|TestEachToken",
		`if age > (\w+)\.Grace `, `if age > $1.Recheck `,
	},
	{
		"D3 something is sold while the feed is stale", "internal/node", "TestD3",
		`IsFresh\((\w+)\.Recheck\)`, `IsFresh($1.Recheck + $1.Grace)`,
	},

	// The gate: what it covers, and what opens it.
	{"G1 G5 another spelling of the path is free", "internal/gate", "TestCoverageOf", `urlpath\.Aliases\(\w+\)`, `[]string(nil)`},
	{
		"G2 G3 an obfuscated path is free", "internal/gate", "TestCoverageOf",
		`:= obfuscationsOf\(\w+, suspicious\.\.\.\)`, `:= []string(nil), true`,
	},
	{
		"G9 a header leads to a free path", "internal/gate", "TestCoverageG9",
		`matchForms\(r, nil, urlpath\.Overrides\(.*?\), `, `matchForms(r, nil, `,
	},
	{
		"G12 headers of a client name a buyer", "internal/admission", "TestG12",
		`strings\.HasPrefix\(normalized\((.*)\), (\w+)\)`, `strings.HasPrefix($1, $2+"-")`,
	},
	{
		"T4 a purchase of one path opens others", "internal/gate", "TestT4",
		`\w+ == terms\.AllPaths \|\| \w+ == (PathResource\(\w+\)) \{`, `$1 != "" {`,
	},
	{"T4 a private address opens others", "internal/gate", "TestT4T6G6", ` \|\| \w+\.Link != linkScope\(.*?\)\) `, ` `},
	{
		"G6 a private address writes", "internal/gate", "TestT4T6G6",
		`(isRead := )\w+\.Method == .*`, `${1}true`,
	},
	{"R2 a spoofed Host is a site", "internal/gate", "TestR2", `!slices\.ContainsFunc\(hosts, (\w+)\)`, `len(hosts) == 0 && $1 != nil`},
	{
		"R1 a return leads to another site", "internal/urlpath", "TestLocal",
		`return "/" \+ strings\.TrimLeft\((string\(\w+\)).*\)`, `return $1`,
	},
	{
		"FB2 the cheaper spelling of a path is sold", "internal/gate", "TestFB2",
		`\|\| \w+ == nil && \(\w+ != nil \|\| costsMore\((\w+), \w+\)\)`, `|| costsMore($1, $1)`,
	},

	// Answers: nothing paid, and no secret, is left where others read it.
	{"H1 shared caches keep paid answers", "internal/response", "TestH1", `sharedOnly = \[\]string\{"public", `, `sharedOnly = []string{`},
	{"H2 the gate's answers are stored", "internal/response", "TestH2", `"no-store"`, `"no-cache"`},
	{
		"the checkout URL stays in the access log", "internal/response", "TestTheCheckoutURL",
		`(strings\.Cut\((\w+), "://"\)(?s:.*?)"Location", )([^)]*)\)`, `$1($3)[:0]+$2)`,
	},
	{
		"G8 the connection of a withheld answer is given away", "internal/response", "TestG8",
		`if \w+\.outcome == Withheld .*(\{\s+return nil, nil)`, `if false $1`,
	},

	// The checkout: who is asked to pay, and who gets what was paid.
	{
		"S1 anybody's paid session opens", "internal/checkout", "TestS1|TestFA3FA4S1",
		`(\w+) := lookup\{cookies: (\w+)\.readPending\(\)\}`,
		`$1 := lookup{cookies: pendingCookies{here: []session.Pending{{Session: $2.get(urlpath.ParamSession)}}}}`,
	},
	{"S4 a cheap session opens a dear gate", "session", "TestS4", ` \+ "\\n" \+ \w+\)\)`, `))`},
	{
		"S6 a visitor who waits is sold another checkout", "internal/checkout", "TestS6",
		`case \w+\.expected != nil && !\w+\.restarts\(\):()`, `case false:$1`,
	},
	{
		"S7 a checkout that was paid is dropped", "internal/checkout", "TestS7|TestD2Many|TestWhoHas|TestWhoBuys",
		`case errors\.Is\(err, ledger\.ErrNotFound\):(\s+\w+\.dropPending)`, `case true:$1`,
	},
	{
		"D2 a visitor is asked to pay while the ledger fails", "internal/checkout", "TestD2",
		`case \w+\.err != nil:(\s+return true, \w+\.showError)`, `case false:$1`,
	},
	{"C1 one client has no limit", "session", "TestC1", `(\w+\.DelayFrom\(\w+\)), PerClient`, `0*$1, PerClient`},
	{"C2 a prefetch starts a checkout", "internal/checkout", "TestFA1FA2FA4C2", ` && (!admission\.IsPrefetch\(\w+\))`, ` && ($1 || true)`},
	{"C3 each visit opens a checkout", "session", "TestReusable", `> 30\*time\.Second`, `< 0`},
	{
		"FA1 an app's browser is taken for a program", "internal/checkout", "TestFA1",
		`strings\.EqualFold\((\w+\.Header\.Get\("X-Requested-With"\)), "XMLHttpRequest"\)`, `$1 != ""`,
	},
	{
		"FA2 a service worker's navigation is none", "internal/checkout", "TestFA1FA2",
		`dest == "empty"`, `false`,
	},
	{
		"FA4 a crawler's visit creates a session", "internal/checkout", "TestFA1FA2FA4",
		`(\w+\.Header\.Get\("Sec-Fetch-Mode"\)) == "navigate" && isPage`, `($1 != "" || true) && isPage`,
	},
	{
		"FA3 the button of a page starts nothing", "internal/checkout", "TestFA3",
		`return (isNavigation\(\w+\.r\)) \|\| .*`, `return $1`,
	},
	{"Axra confirms another price", "session", "TestAxraInTrouble|TestCreate", `if !confirms\(.*\) \{`, `if false {`},
}
