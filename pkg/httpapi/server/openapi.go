package server

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coulomb/artifact-store/pkg/httpapi/server/address"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// The operations that are served without huma, and their documentation. Method
// and Path are the route itself.
var (
	declareOperation = plain(http.MethodPost, "/v1/uploads/{id}/files", "declareFiles", "Declare files; the answer lists those whose bytes must be sent", "uploads",
		parameter("path", "id", "ID of the upload session"),
		takes[declaration]("application/json", true), answers[registry.Declared](200, "application/json"))
	putFileOperation = plain(http.MethodPut, address.UploadFile, "putFile", "Send one file's bytes; they are durable once the request is answered", "uploads",
		parameter("path", "id", "ID of the upload session"),
		parameter("path", "path", "path of the file in the package; slashes are not escaped"),
		parameter("query", "executable", "true or false; used only if the file was not declared"),
		parameter("header", wire.ReprDigest, "RFC 9530: sha-256=:…: and blake3=:…:"),
		takesBytes("application/octet-stream", true), answers[registry.UploadedFile](200, "application/json"))
	bundleOperation = plain(http.MethodPost, "/v1/uploads/{id}/bundle", "putFiles", "Send many files as one tar archive", "uploads",
		parameter("path", "id", "ID of the upload session"),
		takesBytes(wire.TarMediaType, true), answers[registry.Bundled](200, "application/json"))
	publishPackageOperation = plain(http.MethodPost, "/v1/packages", "publishPackage", "Publish a small package by one request: a form of its description and its files as a tar archive", "packages",
		takes[packageForm]("multipart/form-data", true), answers[registry.Publication](201, "application/json"))
	progressOperation = plain(http.MethodHead, address.UploadFile, "fileProgress", "Get how much of a file has arrived (draft-ietf-httpbis-resumable-upload-15)", "uploads",
		parameter("path", "id", "ID of the upload session"), parameter("path", "path", "path of the file in the package; slashes are not escaped"),
		answersNothing(wire.UploadOffset, wire.UploadComplete, wire.UploadLength))
	appendOperation = plain(http.MethodPatch, address.UploadFile, "appendFile", "Send the next bytes of a file (draft-ietf-httpbis-resumable-upload-15)", "uploads",
		parameter("path", "id", "ID of the upload session"), parameter("path", "path", "path of the file in the package; slashes are not escaped"),
		parameter("query", "executable", "true or false; used only if the file was not declared"),
		parameter("header", wire.UploadOffset, "offset of the first byte sent"), parameter("header", wire.UploadComplete, "?1 if these are the last bytes, ?0 if more follow"),
		parameter("header", wire.ReprDigest, "digests of the whole file"),
		takesBytes(wire.PartialUpload, true), answers[registry.FileProgress](200, "application/json"))
	publishOperation = plain(http.MethodPost, "/v1/uploads/{id}/publish", "publishUpload", "Publish the session as a package; a repeated request gets the same answer", "uploads",
		parameter("path", "id", "ID of the upload session"),
		takesBytes("application/cbor", false), answers[registry.Publication](201, "application/json"))
	getFileOperation = plain(http.MethodGet, address.PackageFile, "getPackageFile", "Get one file of a package by its path", "packages",
		append(fileParameters, answersBlob(true))...)
	headFileOperation    = plain(http.MethodHead, address.PackageFile, "headPackageFile", "Get the size and digests of one file of a package", "packages", append(fileParameters, answersBlob(false))...)
	getManifestOperation = plain(http.MethodGet, "/v1/manifests/{digest}", "getManifest", "Get a manifest as canonical CBOR, or as JSON with Accept: application/json", "packages",
		parameter("path", "digest", "sha256:…"), holderParameter, answersBytes(200, "application/cbor"), answers[manifest.Manifest](200, "application/json"))
	getBlobOperation = plain(http.MethodGet, "/v1/blobs/{digest}", "getBlob", "Get a blob's bytes", "blobs",
		parameter("path", "digest", "sha256:… or blake3:…"), holderParameter, parameter("header", "Range", "a single byte range"),
		parameter("header", "If-None-Match", "an ETag"), parameter("header", "If-Range", "an ETag"), answersBlob(true))
	headBlobOperation = plain(http.MethodHead, "/v1/blobs/{digest}", "headBlob", "Get a blob's size and digests", "blobs",
		parameter("path", "digest", "sha256:… or blake3:…"), holderParameter, answersBlob(false))
	eventsOperation = plain(http.MethodGet, "/v1/events", "readEvents", "Get a page of the log, or a live stream with Accept: text/event-stream", "events",
		parameter("query", "after", "position; only later events are returned"), parameter("query", "limit", "events per page, at most 1000; 0 means 100"),
		parameter("query", "kind", "kinds, joined by commas: v1.package.published, or v1.storage for all that begin so"),
		parameter("query", "producer", "only events about packages of this producer"), parameter("query", "package", "name or name@version; requires producer"),
		parameter("query", "actor", "who caused it"), parameter("query", "since", "at this time (RFC 3339) or later"), parameter("query", "until", "before this time (RFC 3339)"),
		parameter("header", "Last-Event-ID", "<log id>:<position>:<hash>, the id of an event; resumes a stream after it"),
		answers[registry.EventPage](200, "application/json"), answersBytes(200, "text/event-stream"))
	verifyOperation = plain(http.MethodPost, "/v1/backends/{id}/verifications", "verifyBackend", "Read the objects of a backend again and check them; sends up to five progress lines a second", "backends",
		parameter("path", "id", "name or ID of the backend"),
		parameter("query", "mode", "full (default), rolling or failed"), parameter("query", "rollingPeriod", "period within which every object is read once, for example 720h"),
		parameter("query", "rollingInterval", "time until the next run, for example 24h"), parameter("query", "concurrency", "number of objects read concurrently, 1 to 64"),
		parameter("query", "bandwidth", "limit in bytes per second, at least 65536"), parameter("query", "timeLimit", "time after which no further object is read, for example 6h"),
		answers[wire.VerifyLine](200, "application/x-ndjson"), marked)
	sweepOperation = plain(http.MethodPost, "/v1/backends/{id}/sweeps", "sweepBackend", "Remove orphaned objects from a backend; sends up to five progress lines a second", "backends",
		parameter("path", "id", "name or ID of the backend"), parameter("query", "dryRun", "true: list orphans without removing them"), answers[wire.SweepLine](200, "application/x-ndjson"), marked)
	livezOperation   = plain(http.MethodGet, "/livez", "livez", "Liveness: 200 while the process runs", "server", answersBytes(200, "text/plain"))
	readyzOperation  = plain(http.MethodGet, "/readyz", "readyz", "Readiness: 200 if this server accepts requests, otherwise 503 with the reason", "server", answersBytes(200, "text/plain"))
	metricsOperation = plain(http.MethodGet, "/metrics", "metrics", "Get Prometheus metrics", "server", answersBytes(200, "text/plain"))
	openapiOperation = plain(http.MethodGet, "/openapi.json", "openapi", "Get this document", "server", answersBytes(200, "application/openapi+json"))

	holderParameter = parameter("query", "producer", "a producer whose package contains the blob: makes the permission check faster and, if many packages contain it, reliable")

	fileParameters = []detail{
		parameter("path", "producer", ""), parameter("path", "name", ""), parameter("path", "version", ""),
		parameter("path", "path", "path of the file in the package; slashes are not escaped"),
		parameter("query", "describe", "true: return the file's description as JSON instead of its bytes"),
		parameter("header", "Range", "a single byte range"), parameter("header", "If-None-Match", "an ETag"), parameter("header", "If-Range", "an ETag"),
	}
)

var securitySchemes = map[string]*huma.SecurityScheme{
	"bearer": {Type: "http", Scheme: "bearer", Description: "a ServiceAccount token with the server's audience, or a static token from the server's token file"},
	"basic":  {Type: "http", Scheme: "basic", Description: "the same token as the password; the user name is ignored"},
}

// security is what every operation requires, unless its address is open.
func (h *handler) security() []map[string][]string {
	if h.opts.Authenticator == nil {
		return nil
	}
	return []map[string][]string{{"bearer": {}}, {"basic": {}}}
}

// detail adds one thing to an operation. Schemas are filled in by document, which has their registry.
type detail func(op *huma.Operation)

func plain(method, path, id, summary, tag string, details ...detail) huma.Operation {
	op := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag}, Responses: map[string]*huma.Response{}}
	for _, add := range details {
		add(&op)
	}
	return op
}

func parameter(in, name, words string) detail {
	return func(op *huma.Operation) {
		op.Parameters = append(op.Parameters, &huma.Param{In: in, Name: name, Description: words, Required: in == "path", Schema: &huma.Schema{Type: huma.TypeString}})
	}
}

// typed marks a schema that is made from T when there is a schema registry.
const typed = "go-type"

func schemaOf[T any]() *huma.Schema {
	return &huma.Schema{Extensions: map[string]any{typed: reflect.TypeFor[T]()}}
}

func takes[T any](contentType string, required bool) detail {
	return func(op *huma.Operation) {
		op.RequestBody = &huma.RequestBody{Required: required, Content: map[string]*huma.MediaType{contentType: {Schema: schemaOf[T]()}}}
	}
}

func takesBytes(contentType string, required bool) detail {
	return func(op *huma.Operation) {
		op.RequestBody = &huma.RequestBody{Required: required, Content: map[string]*huma.MediaType{contentType: {}}}
	}
}

func answers[T any](status int, contentType string) detail {
	return answer(status, contentType, schemaOf[T]())
}

func answersBytes(status int, contentType string) detail { return answer(status, contentType, nil) }

func answer(status int, contentType string, schema *huma.Schema) detail {
	return func(op *huma.Operation) {
		response := op.Responses[strconv.Itoa(status)]
		if response == nil {
			response = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{}}
			op.Responses[strconv.Itoa(status)] = response
		}
		response.Content[contentType] = &huma.MediaType{Schema: schema}
	}
}

func answersNothing(headers ...string) detail {
	return func(op *huma.Operation) {
		response := &huma.Response{Description: http.StatusText(http.StatusNoContent), Headers: map[string]*huma.Param{}}
		for _, name := range headers {
			response.Headers[name] = &huma.Param{Schema: &huma.Schema{Type: huma.TypeString}}
		}
		op.Responses["204"] = response
	}
}

func answersBlob(withBody bool) detail {
	return func(op *huma.Operation) {
		text := &huma.Schema{Type: huma.TypeString}
		headers := map[string]*huma.Param{"ETag": {Schema: text}, wire.ReprDigest: {Schema: text}, "Accept-Ranges": {Schema: text}, "Cache-Control": {Schema: text}}
		ok := &huma.Response{Description: "the whole content", Headers: headers}
		op.Responses["200"], op.Responses["304"] = ok, &huma.Response{Description: "not modified: If-None-Match lists its ETag"}
		if withBody {
			ok.Content = map[string]*huma.MediaType{"application/octet-stream": {}}
			op.Responses["206"] = &huma.Response{Description: "the requested range", Headers: headers, Content: ok.Content}
			op.Responses["416"] = &huma.Response{Description: "the range is outside the content", Content: problemContent}
		}
	}
}

// marked documents the answer to a run on a backend that is busy, or whose
// bucket or folder belongs to another.
func marked(op *huma.Operation) {
	op.Responses["409"] = &huma.Response{Content: problemContent,
		Description: "conflict: a run is in progress, or the backend is ReadOnly. foreign-marker, no-marker: the bucket or folder has another backend's identity object, or none; detail names it and its owner"}
}

var problemContent = map[string]*huma.MediaType{"application/problem+json": {Schema: schemaOf[wire.Problem]()}}

// document adds a plain operation to the specification.
func document(api huma.API, op huma.Operation) {
	op.Path = strings.ReplaceAll(op.Path, "{path...}", "{path}")
	api.OpenAPI().AddOperation(&op)
}

// operationsOf lists the operations at one path.
func operationsOf(item *huma.PathItem) []*huma.Operation {
	all := []*huma.Operation{item.Get, item.Head, item.Put, item.Post, item.Patch, item.Delete}
	return slices.DeleteFunc(all, func(op *huma.Operation) bool { return op == nil })
}

// specification encodes the document. It puts our error type where huma
// describes its own, and schemas where schemaOf has left types.
func specification(api huma.API) []byte {
	document := api.OpenAPI()
	schemas := document.Components.Schemas
	fill := func(content map[string]*huma.MediaType) map[string]*huma.MediaType {
		filled := make(map[string]*huma.MediaType, len(content))
		for contentType, media := range content {
			if media.Schema != nil && media.Schema.Extensions[typed] != nil {
				media = &huma.MediaType{Schema: schemas.Schema(media.Schema.Extensions[typed].(reflect.Type), true, "")}
			}
			filled[contentType] = media
		}
		return filled
	}
	for _, item := range document.Paths {
		for _, op := range operationsOf(item) {
			responses := make(map[string]*huma.Response, len(op.Responses)+1)
			for status, response := range op.Responses {
				filled := *response
				filled.Content = fill(response.Content)
				responses[status] = &filled
			}
			responses["default"] = &huma.Response{Description: "a problem (RFC 9457)", Content: fill(problemContent)}
			op.Responses = responses
			if open[op.Path] {
				op.Security = []map[string][]string{}
			}
			if op.RequestBody != nil {
				op.RequestBody = &huma.RequestBody{Required: op.RequestBody.Required, Content: fill(op.RequestBody.Content)}
			}
		}
	}
	delete(schemas.Map(), "ErrorModel")
	delete(schemas.Map(), "ErrorDetail")
	encoded, err := json.Marshal(document)
	if err != nil {
		panic(err) // it depends on the tables above only; the tests build it
	}
	return encoded
}
