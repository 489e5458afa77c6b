package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
	"github.com/coulomb/artifact-store/pkg/serving"
)

// newAPI sets huma up, which reads, writes and documents the bodies. The
// registry alone decides which values are valid, so no field is required and
// none is bounded here.
func (h *handler) newAPI() huma.API {
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "artifact-store",
				Version:     h.opts.Version,
				Description: "Packages are immutable sets of files, verified by their digests. Errors are problem details (RFC 9457).",
			},
			Components: &huma.Components{SecuritySchemes: securitySchemes},
			Security:   h.security(),
		},
		Formats:       formats,
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{ownProblems},
	}
	config.FieldsOptionalByDefault = true
	api := humago.New(h.mux, config)
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		if err := checkSmallBody(r); err != nil {
			w.(*serving.Writer).Fail(r, err)
			return
		}
		next(statusContext{ctx})
	})
	return api
}

// statusContext answers 400 where huma answers 422, as for every other invalid
// request.
type statusContext struct{ anyContext }

type anyContext huma.Context

func (c statusContext) SetStatus(status int) {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	c.anyContext.SetStatus(status)
}

// ownProblems turns huma's errors into ours. Their "value" is not kept: it repeats the input.
func ownProblems(ctx huma.Context, _ string, body any) (any, error) {
	model, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	from := kind(wire.Kinds[0]) // invalid
	switch model.Status {
	case http.StatusRequestEntityTooLarge:
		from = problemBody
	case http.StatusUnsupportedMediaType:
		from = problemMedia
	case http.StatusRequestTimeout:
		from = problemStalled
	case http.StatusInternalServerError:
		from = problemInternal
	}
	p := from.problem("")
	p.RequestID = newRequestID()
	for _, detail := range model.Errors {
		location := detail.Location
		for _, prefix := range []string{"body.", "query.", "path.", "header."} {
			location = strings.TrimPrefix(location, prefix)
		}
		p.Errors = append(p.Errors, wire.At(location, detail.Message))
	}
	if len(p.Errors) == 0 {
		p.Errors = []wire.FieldError{wire.At("body", model.Detail)}
	}
	if from.Code == "invalid" {
		p.Detail = p.Errors[0].Location + ": " + p.Errors[0].Message
	}
	for name, values := range p.GetHeaders() {
		ctx.SetHeader(name, values[0])
	}
	return p, nil
}

// in and out of the operations. huma reads the tags.
type (
	none     struct{}
	uploadID struct {
		ID string `path:"id" doc:"ID of the upload session"`
	}
	packageRef struct {
		Producer string `path:"producer"`
		Name     string `path:"name"`
		Version  string `path:"version"`
	}
	// Page is exported because huma looks into no other embedded struct.
	Page struct {
		After string `query:"after" doc:"value of next in the previous page"`
		Limit int    `query:"limit" minimum:"0" maximum:"1000" doc:"packages per page; 0 means 100"`
	}
	listPackages struct {
		Page
		Producer       string   `query:"producer"`
		Name           string   `query:"name"`
		NameGlob       string   `query:"nameGlob" doc:"pattern for the name: * within a component, ** across them"`
		RetentionClass string   `query:"retentionClass"`
		Tier           string   `query:"tier" enum:"hot,warm,cold"`
		Actor          string   `query:"actor" doc:"who published it"`
		Annotation     []string `query:"annotation,explode" doc:"key=value; given several times, a package must have all of them"`
		Since          string   `query:"since" doc:"published at this time (RFC 3339) or later"`
		Until          string   `query:"until" doc:"published before this time (RFC 3339)"`
		At             uint64   `query:"at" doc:"position of the log: what was published by then"`
	}
	listDamaged struct {
		Page
		Producer string `query:"producer"`
		Name     string `query:"name" doc:"requires producer"`
		Version  string `query:"version" doc:"requires producer and name"`
	}
	listFiles struct {
		Producer string `path:"producer"`
		Name     string `path:"name"`
		Version  string `path:"version"`
		After    string `query:"after" doc:"value of next in the previous page"`
		Limit    int    `query:"limit" minimum:"0" maximum:"1000" doc:"files per page; 0 means 1000"`
		Below    string `query:"below" doc:"a folder or file of the package; slashes are not escaped"`
	}
	findUses struct {
		Page
		Digest   string `path:"digest" doc:"sha256:… or blake3:…"`
		Producer string `query:"producer" doc:"only packages of this producer"`
	}
	listVersions struct {
		Page
		Producer string `path:"producer"`
		Name     string `path:"name"`
	}
	whoAmI struct {
		Producer string `query:"producer" doc:"include what may be done with the packages of this producer"`
	}
	backendID struct {
		ID string `path:"id" doc:"name or ID of the backend"`
	}
	body[T any] struct{ Body T }
	created     struct {
		Location string `header:"Location"`
		Body     registry.Upload
	}
)

// operation documents one huma operation. The handler around it limits the time
// of its body, so huma sets no deadline (it would not remove it).
func operation(method, path, id, summary, tag string, status int) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag},
		DefaultStatus: status, MaxBodyBytes: MaxJSONBody, BodyReadTimeout: -1,
	}
}

// register adds an operation whose errors are answered by the one table.
func register[I, O any](h *handler, api huma.API, op huma.Operation, serve func(context.Context, *I) (*O, error)) {
	h.holds[op.Method+" "+op.Path] = op.Method == http.MethodGet // a page is read at leisure, what is written is answered in a few words
	huma.Register(api, op, func(ctx context.Context, input *I) (*O, error) {
		output, err := serve(ctx, input)
		if err != nil {
			return nil, h.operationProblem(ctx, op, err)
		}
		return output, nil
	})
}

func (h *handler) operationProblem(ctx context.Context, op huma.Operation, err error) *problem {
	p := *problemOf(err)
	p.RequestID = newRequestID()
	if p.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		h.opts.Logger.Log(ctx, faultLevel(p.Status), "request failed", "requestId", p.RequestID,
			"operation", op.OperationID, "status", p.Status, "error", err)
	}
	return &p
}

func (h *handler) registerOperations(api huma.API) {
	register(h, api, operation(http.MethodPost, "/v1/uploads", "openUpload", "Open an upload session; this decides where its files are stored", "uploads", 201),
		func(ctx context.Context, in *body[registry.OpenUpload]) (*created, error) {
			upload, err := h.registry.OpenUpload(ctx, in.Body)
			return &created{"/v1/uploads/" + upload.ID, upload}, err
		})
	register(h, api, operation(http.MethodGet, "/v1/uploads/{id}", "getUpload", "Describe an upload session", "uploads", 200),
		func(ctx context.Context, in *uploadID) (*body[registry.Upload], error) {
			upload, err := h.registry.GetUpload(ctx, in.ID)
			return &body[registry.Upload]{upload}, err
		})
	register(h, api, operation(http.MethodDelete, "/v1/uploads/{id}", "abandonUpload", "Abandon an upload session that is not published", "uploads", 204),
		func(ctx context.Context, in *uploadID) (*none, error) {
			err := h.registry.AbandonUpload(ctx, in.ID)
			if err == nil {
				serving.EndAll(ctx, h.appends.Find(in.ID, "")) // nobody needs what they bring
			}
			return nil, err
		})
	register(h, api, operation(http.MethodGet, "/v1/packages", "listPackages", "List packages by producer, name and version", "packages", 200),
		func(ctx context.Context, in *listPackages) (*body[registry.PackagePage], error) {
			filter, err := in.filter()
			if err != nil {
				return nil, err
			}
			return h.listPackages(ctx, filter)
		})
	register(h, api, operation(http.MethodGet, "/v1/damaged", "listDamaged", "List files of packages whose bytes are corrupt, missing or in doubt", "packages", 200),
		func(ctx context.Context, in *listDamaged) (*body[registry.DamagePage], error) {
			page, err := h.registry.ListDamaged(ctx, registry.DamageFilter{Producer: in.Producer, Name: in.Name, Version: in.Version, After: in.After, Limit: in.Limit})
			if page.Damaged == nil {
				page.Damaged = []registry.DamagedFile{}
			}
			return &body[registry.DamagePage]{page}, err
		})
	register(h, api, operation(http.MethodGet, "/v1/packages/{producer}/{name}", "listVersions", "List the versions of a package; the list is empty if the package does not exist", "packages", 200),
		func(ctx context.Context, in *listVersions) (*body[registry.PackagePage], error) {
			return h.listPackages(ctx, registry.PackageFilter{Producer: in.Producer, Name: in.Name, After: in.After, Limit: in.Limit})
		})
	register(h, api, operation(http.MethodGet, "/v1/packages/{producer}/{name}/{version}", "getPackage", "Describe one package version", "packages", 200),
		func(ctx context.Context, in *packageRef) (*body[registry.Package], error) {
			found, err := h.registry.GetPackage(ctx, registry.PackageRef(*in))
			return &body[registry.Package]{found}, err
		})
	register(h, api, operation(http.MethodGet, "/v1/packages/{producer}/{name}/{version}/files", "listPackageFiles", "List the files of a package by their paths", "packages", 200),
		func(ctx context.Context, in *listFiles) (*body[registry.FilePage], error) {
			page, err := h.registry.ListFiles(ctx, registry.PackageRef{Producer: in.Producer, Name: in.Name, Version: in.Version}, registry.FileQuery{Below: in.Below, After: in.After, Limit: in.Limit})
			return &body[registry.FilePage]{page}, err
		})
	register(h, api, operation(http.MethodGet, "/v1/blobs/{digest}/uses", "findBlobUses", "Find the packages and backends that have a blob", "blobs", 200),
		func(ctx context.Context, in *findUses) (*body[registry.UsePage], error) {
			name, err := digest.Parse(in.Digest)
			if err != nil {
				return nil, registry.Invalid("digest", "%v", err)
			}
			page, err := h.registry.FindUses(ctx, name, registry.UseQuery{Producer: in.Producer, After: in.After, Limit: in.Limit})
			return &body[registry.UsePage]{page}, err
		})
	register(h, api, operation(http.MethodPost, "/v1/routing/explain", "explainRouting", "Explain which rule and backend a new package would get, and why", "backends", 200),
		func(ctx context.Context, in *body[placement.Request]) (*body[placement.Explanation], error) {
			explanation, err := h.registry.Explain(ctx, in.Body)
			return &body[placement.Explanation]{explanation}, err
		})
	register(h, api, operation(http.MethodGet, "/v1/backends", "listBackends", "List all declared backends", "backends", 200),
		func(ctx context.Context, _ *none) (*body[wire.BackendList], error) {
			backends, err := h.registry.ListBackends(ctx)
			if backends == nil {
				backends = []registry.BackendStatus{}
			}
			return &body[wire.BackendList]{wire.BackendList{Backends: backends}}, err
		})
	register(h, api, operation(http.MethodGet, "/v1/backends/{id}", "getBackend", "Describe one backend: state, last probe, failed locations, age of the last verification", "backends", 200),
		func(ctx context.Context, in *backendID) (*body[registry.BackendStatus], error) {
			backend, err := h.registry.GetBackend(ctx, in.ID)
			return &body[registry.BackendStatus]{backend}, err
		})
	register(h, api, operation(http.MethodPost, "/v1/backends/{id}/probe", "probeBackend", "Test every operation and feature of a backend separately; one probe per backend at a time", "backends", 200),
		func(ctx context.Context, in *backendID) (*body[registrar.ProbeReport], error) {
			report, err := h.registry.ProbeBackend(ctx, in.ID)
			return &body[registrar.ProbeReport]{report}, ofPlace(err)
		})
	h.registerTags(api)
	h.registerVerifications(api)
	register(h, api, operation(http.MethodGet, "/v1/whoami", "whoAmI", "Say who the caller is and what they may do; everybody with a valid token may ask", "server", 200),
		func(ctx context.Context, in *whoAmI) (*body[registry.Caller], error) {
			caller, err := h.registry.WhoAmI(ctx, in.Producer)
			caller.Authenticated = err == nil && h.opts.Authenticator != nil
			return &body[registry.Caller]{caller}, err
		})
	register(h, api, operation(http.MethodGet, "/v1/health", "getHealth", "Summarize the health of the registry; always 200, status is ok or degraded", "server", 200),
		func(ctx context.Context, _ *none) (*body[registry.Health], error) {
			health, err := h.registry.Health(ctx)
			if health.Reasons == nil {
				health.Reasons = []string{}
			}
			return &body[registry.Health]{health}, err
		})
}

func (in *listPackages) filter() (f registry.PackageFilter, err error) {
	f = registry.PackageFilter{
		Producer: in.Producer, Name: in.Name, NameGlob: in.NameGlob, RetentionClass: in.RetentionClass, Tier: registry.Tier(in.Tier), Actor: in.Actor,
		At: in.At, After: in.After, Limit: in.Limit,
	}
	if f.Annotations, err = wire.ParseAnnotations(in.Annotation); err != nil {
		return f, err
	}
	if f.Since, err = wire.ParseTime("since", in.Since); err != nil {
		return f, err
	}
	f.Until, err = wire.ParseTime("until", in.Until)
	return f, err
}

func (h *handler) listPackages(ctx context.Context, filter registry.PackageFilter) (*body[registry.PackagePage], error) {
	found, err := h.registry.ListPackages(ctx, filter)
	if found.Packages == nil {
		found.Packages = []registry.Package{}
	}
	return &body[registry.PackagePage]{found}, err
}

type listLocations struct {
	ID    string `path:"id" doc:"name or ID of the backend"`
	State string `query:"state" enum:"failed" doc:"failed: only locations that failed verification"`
	After string `query:"after" doc:"value of next in the previous page"`
	Limit int    `query:"limit" minimum:"0" maximum:"1000" doc:"locations per page; 0 means 1000"`
}

type recordFindings struct {
	ID   string `path:"id" doc:"name or ID of the backend"`
	Body registry.VerifyFindings
}

// registerVerifications adds what a program needs that reads a backend itself.
func (h *handler) registerVerifications(api huma.API) {
	register(h, api, operation(http.MethodGet, "/v1/backends/{id}/locations", "listLocations", "List what a backend should contain, least recently verified first", "backends", 200),
		func(ctx context.Context, in *listLocations) (*body[registry.LocationPage], error) {
			page, err := h.registry.ListLocations(ctx, in.ID, registry.LocationQuery{Failed: in.State != "", After: in.After, Limit: in.Limit})
			if page.Locations == nil {
				page.Locations = []verify.Location{}
			}
			return &body[registry.LocationPage]{page}, ofPlace(err)
		})
	register(h, api, operation(http.MethodPost, "/v1/backends/{id}/findings", "recordFindings", "Record the results of reading locations", "backends", 200),
		func(ctx context.Context, in *recordFindings) (*body[registry.RecordedFindings], error) {
			recorded, err := h.registry.RecordFindings(ctx, in.ID, in.Body)
			return &body[registry.RecordedFindings]{recorded}, ofPlace(err)
		})
}
