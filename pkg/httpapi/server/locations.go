package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

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
