package layers

// A package is named by its folder; "x/..." is x and everything below. The
// longest name that fits a package is its row.

// imports is the import table: what a package may import of this module.
// Files of tests are not held to it; those of test suites (storagetest, …) are.
var imports = map[string][]string{
	// Words and encodings: they know nothing of the rest.
	"pkg/digest":    {},
	"pkg/canonical": {},
	"pkg/manifest":  {"pkg/canonical", "pkg/digest"},
	// How long to wait before another try.
	"pkg/backoff":   {},
	"pkg/interrupt": {},                             // how signals end a program
	"pkg/glob":      {},                             // the one rule by which patterns match names
	"pkg/versions":  {},                             // the order of versions
	"pkg/regular":   {},                             // regular files, and nothing that hangs in their place
	"pkg/filewatch": {"pkg/backoff", "pkg/regular"}, // files that are edited while they are in use
	"pkg/shares":    {},                             // what is scarce, lent in turns between holders

	// Storage knows no packages, no log and no registry. Drivers do not know
	// each other; backends is the only list of them.
	"pkg/storage":              {"pkg/digest"},
	"pkg/storage/...":          {"pkg/backoff", "pkg/digest", "pkg/regular", "pkg/shares", "pkg/storage", "pkg/storage/buffer", "pkg/storage/internal/..."},
	"pkg/storage/buffer":       {"pkg/shares"},
	"pkg/storage/internal/...": {"pkg/digest", "pkg/storage", "pkg/storage/buffer"},
	"pkg/storage/backends":     {"pkg/digest", "pkg/storage/..."},

	// The log holds opaque payloads; only database knows which engine it is.
	"pkg/database/...": {"pkg/backoff", "pkg/database/..."},
	"pkg/eventlog/...": {"pkg/backoff", "pkg/canonical", "pkg/database", "pkg/digest", "pkg/eventlog"},

	// What registry and routing have in common. Neither imports the other.
	"pkg/registry/placement": {"pkg/registry/registrar", "pkg/storage"},
	// What the registry and the controllers of backends have in common.
	"pkg/registry/registrar": {"pkg/registry/verify", "pkg/storage"},
	"pkg/routing/...":        {"pkg/digest", "pkg/registry/placement", "pkg/routing", "pkg/storage"},

	// The contract: it knows no database and no driver.
	"pkg/registry": {"pkg/digest", "pkg/manifest", "pkg/storage", "pkg/registry/placement", "pkg/registry/registrar", "pkg/registry/verify"},
	// The service composes its rooms. They know core and no other room; none knows
	// a driver, a routing table or Kubernetes.
	"pkg/registry/service": {
		"pkg/backoff", "pkg/database", "pkg/eventlog", "pkg/registry", "pkg/registry/doubt", "pkg/registry/event", "pkg/registry/headmark", "pkg/registry/placement", "pkg/registry/registrar",
		"pkg/registry/service/core", "pkg/registry/service/custody", "pkg/registry/service/ingest", "pkg/registry/service/reading", "pkg/registry/service/tagging",
		"pkg/registry/upload", "pkg/registry/view",
	},
	"pkg/registry/service/core": {
		"pkg/database", "pkg/digest", "pkg/eventlog", "pkg/storage", "pkg/registry", "pkg/registry/doubt", "pkg/registry/placement", "pkg/registry/registrar",
		"pkg/registry/upload", "pkg/registry/view",
	},
	"pkg/registry/service/ingest": {
		"pkg/backoff", "pkg/database", "pkg/digest", "pkg/eventlog", "pkg/manifest", "pkg/shares", "pkg/storage", "pkg/registry", "pkg/registry/placement",
		"pkg/registry/doubt", "pkg/registry/event", "pkg/registry/removal", "pkg/registry/service/core", "pkg/registry/service/ingest/atonce", "pkg/registry/service/ingest/pieces", "pkg/registry/service/ingest/rules", "pkg/registry/service/ingest/window", "pkg/registry/upload", "pkg/registry/view",
	},
	// The memory in which small files wait.
	"pkg/registry/service/ingest/window": {"pkg/registry", "pkg/registry/upload", "pkg/shares", "pkg/storage"},
	// How files are read that come in several requests.
	"pkg/registry/service/ingest/pieces": {"pkg/registry/upload", "pkg/storage"},
	// What a package has that is published by one request, decided without I/O.
	"pkg/registry/service/ingest/atonce": {"pkg/digest", "pkg/manifest", "pkg/storage", "pkg/registry", "pkg/registry/service/ingest/rules", "pkg/registry/service/ingest/window"},
	// What an upload session takes, decided without I/O.
	"pkg/registry/service/ingest/rules": {"pkg/digest", "pkg/manifest", "pkg/storage", "pkg/registry", "pkg/registry/upload"},
	"pkg/registry/service/custody": {
		"pkg/database", "pkg/digest", "pkg/eventlog", "pkg/storage", "pkg/registry", "pkg/registry/placement", "pkg/registry/registrar",
		"pkg/registry/doubt", "pkg/registry/event", "pkg/registry/headmark", "pkg/registry/removal", "pkg/registry/service/core", "pkg/registry/upload", "pkg/registry/verify", "pkg/registry/view",
	},
	"pkg/registry/service/reading": {
		"pkg/backoff", "pkg/database", "pkg/digest", "pkg/eventlog", "pkg/shares", "pkg/storage", "pkg/registry", "pkg/registry/placement", "pkg/registry/registrar",
		"pkg/registry/doubt", "pkg/registry/event", "pkg/registry/headmark", "pkg/registry/service/core", "pkg/registry/upload", "pkg/registry/view",
	},
	"pkg/registry/service/tagging": {"pkg/database", "pkg/eventlog", "pkg/registry", "pkg/registry/event", "pkg/registry/service/core", "pkg/registry/view", "pkg/registry/view/tags"},
	// What could not be read, or was found missing by a reader, until it is verified.
	"pkg/registry/doubt": {"pkg/database", "pkg/digest", "pkg/registry/verify", "pkg/registry/view/fold"},
	// How far the log had come, as each backend remembers it.
	"pkg/registry/headmark": {"pkg/database", "pkg/eventlog", "pkg/registry/view"},
	// How bytes leave. It knows the sessions' tables, and not who decides.
	"pkg/registry/removal":   {"pkg/database", "pkg/digest", "pkg/eventlog", "pkg/storage"},
	"pkg/registry/event":     {"pkg/canonical", "pkg/digest", "pkg/eventlog", "pkg/manifest"},
	"pkg/registry/view":      {"pkg/database", "pkg/glob", "pkg/digest", "pkg/eventlog", "pkg/registry/event", "pkg/registry/verify", "pkg/registry/view/fold"},
	"pkg/registry/view/tags": {"pkg/database", "pkg/digest", "pkg/registry/view"},
	"pkg/registry/view/fold": {"pkg/database", "pkg/digest", "pkg/eventlog", "pkg/manifest", "pkg/registry/event"},
	"pkg/registry/upload":    {"pkg/canonical", "pkg/database", "pkg/digest", "pkg/manifest"},
	"pkg/registry/verify":    {"pkg/digest", "pkg/storage"},
	// A suite for every implementation of Registry: it needs a place for bytes.
	"pkg/registry/registrytest": {
		"pkg/database", "pkg/digest", "pkg/eventlog", "pkg/manifest", "pkg/routing", "pkg/storage/...",
		"pkg/registry", "pkg/registry/placement", "pkg/registry/registrar", "pkg/registry/service", "pkg/registry/verify", "pkg/registry/view",
	},

	// Who may do what. The registry knows nothing of it: it is guarded.
	"pkg/access":     {"pkg/digest", "pkg/registry", "pkg/registry/placement", "pkg/registry/registrar", "pkg/storage"},
	"pkg/access/...": {"pkg/access", "pkg/backoff", "pkg/filewatch", "pkg/registry", "pkg/regular", "pkg/routing", "pkg/storage"},

	// HTTP: what every API over it needs, then /v1 with its client. The client
	// knows nothing of the server; they have the wire in common.
	"pkg/serving":                {"pkg/access", "pkg/digest", "pkg/shares", "pkg/storage"},
	"pkg/httpapi/wire":           {"pkg/digest", "pkg/manifest", "pkg/registry", "pkg/registry/placement", "pkg/registry/registrar", "pkg/registry/verify", "pkg/storage"},
	"pkg/httpapi/jsonbody":       {"pkg/registry", "pkg/serving"},
	"pkg/httpapi/formbody":       {"pkg/httpapi/wire", "pkg/registry"},
	"pkg/httpapi/tarbody":        {"pkg/httpapi/wire", "pkg/registry"},
	"pkg/httpapi/packageform":    {"pkg/digest", "pkg/httpapi/formbody", "pkg/httpapi/jsonbody", "pkg/httpapi/tarbody", "pkg/httpapi/wire", "pkg/registry", "pkg/serving"},
	"pkg/httpapi/server":         {"pkg/access", "pkg/digest", "pkg/httpapi/jsonbody", "pkg/httpapi/packageform", "pkg/httpapi/server/address", "pkg/httpapi/tarbody", "pkg/httpapi/wire", "pkg/manifest", "pkg/registry", "pkg/registry/placement", "pkg/registry/registrar", "pkg/registry/verify", "pkg/serving", "pkg/storage"},
	"pkg/httpapi/server/address": {"pkg/registry"},
	"pkg/client/moving":          {},
	"pkg/client":                 {"pkg/backoff", "pkg/client/moving", "pkg/digest", "pkg/httpapi/wire", "pkg/manifest", "pkg/registry", "pkg/registry/placement", "pkg/registry/registrar", "pkg/storage"},

	// Kubernetes: types only, then what turns them into routing tables. The
	// drivers are there for their Config types: Open is only called on backends.
	"api/...": {},
	// Declarations and their statuses are pure: no I/O, and no library that does
	// any.
	"config/crd":           {},
	"controllers/declared": {"api/v1alpha1", "config/crd", "pkg/regular", "pkg/storage", "pkg/storage/backends", "pkg/storage/local", "pkg/storage/s3"},
	"controllers/status":   {"api/v1alpha1", "controllers/declared", "pkg/registry/placement", "pkg/registry/registrar", "pkg/routing", "pkg/storage"},
	"controllers/observe": {
		"api/v1alpha1", "controllers/declared", "controllers/status", "pkg/backoff", "pkg/registry/registrar", "pkg/regular",
		"pkg/storage", "pkg/storage/backends", "pkg/storage/buffer", "pkg/storage/probe",
	},
	"controllers/observe/observetest": {"pkg/registry/registrar", "pkg/storage"},
	"controllers/cronjobs":            {"api/v1alpha1", "controllers/declared", "controllers/status", "pkg/storage"},
	"controllers": {
		"api/v1alpha1", "controllers/cronjobs", "controllers/declared", "controllers/observe", "controllers/status",
		"pkg/backoff", "pkg/filewatch", "pkg/registry/registrar", "pkg/routing",
	},

	// The programs. The manager wires everything; the CLI is a client.
	"cmd/manager/...":                {"api/...", "cmd/manager/...", "controllers/...", "pkg/..."},
	"cmd/artifactstore/internal/...": {},
	"cmd/artifactstore": {
		"cmd/artifactstore/...",
		"pkg/glob", "pkg/versions", "pkg/access", "pkg/backoff", "pkg/client", "pkg/digest", "pkg/filewatch", "pkg/interrupt", "pkg/manifest", "pkg/registry",
		"pkg/registry/placement", "pkg/registry/registrar", "pkg/registry/verify", "pkg/regular",
		"pkg/storage", "pkg/storage/backends", "pkg/storage/probe",
	},
	// Its rooms: which registry, as whom, and why it cannot be talked to.
	"cmd/artifactstore/contexts":    {"pkg/regular"},
	"cmd/artifactstore/credentials": {"pkg/access", "pkg/filewatch", "pkg/storage"},
	"cmd/artifactstore/kubectl":     {"pkg/storage"},
	"cmd/artifactstore/diagnose":    {"cmd/artifactstore/credentials", "pkg/client"},

	// What push leaves out, and what it must not publish by mistake: text and globs.
	"cmd/artifactstore/secrets":   {},
	"cmd/artifactstore/selection": {},

	// Proof and tools.
	"hack/...": {"..."},
	"test/...": {"..."},
}

// confined says which packages alone may import a library, or anything below
// it. What is not listed may be imported by all.
var confined = map[string][]string{
	"k8s.io":                         {"api/...", "controllers/...", "pkg/access/kubernetes", "cmd/manager/..."},
	"sigs.k8s.io/controller-runtime": {"api/...", "controllers", "controllers/cronjobs", "controllers/observe", "cmd/manager/..."},
	"github.com/aws":                 {"pkg/storage/s3", "pkg/storage/backends"},
	pgx:                              {"pkg/database/..."},
	sqlite:                           {"pkg/database/..."},
	huma:                             {"pkg/httpapi/server"},
	prometheus:                       {"pkg/httpapi/server", "pkg/serving", "pkg/access/kubernetes", "controllers/observe", "cmd/manager/..."},
	"github.com/spf13":               {"cmd/..."},
	"flag":                           {"cmd/..."},
	"testing":                        {"controllers/observe/observetest", "pkg/eventlog/eventlogtest", "pkg/registry/registrytest", "pkg/storage/storagetest"},
}

// unlinked says which libraries a package must not link, directly or through
// other packages: users of the contract or of the client get no database, and a
// client no server.
var unlinked = map[string][]string{
	"pkg/registry":       {sqlite, pgx, huma, prometheus},
	"pkg/httpapi/server": {sqlite, pgx},
	"pkg/client":         {sqlite, pgx, huma, prometheus},
	"cmd/artifactstore":  {sqlite, pgx, huma, prometheus},
}

const (
	pgx        = "github.com/jackc/pgx"
	sqlite     = "modernc.org/sqlite"
	huma       = "github.com/danielgtaylor/huma"
	prometheus = "github.com/prometheus"
)

// exempt are held to no rule about libraries and environment: they are
// programs around the product, not the product.
var exempt = []string{"hack/...", "test/..."}

// environment: only these packages may read environment variables. An
// Observer does so for the variables that a StorageBackend outside a cluster refers to.
var environment = []string{"cmd/...", "controllers/observe"}
