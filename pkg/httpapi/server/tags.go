package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coulomb/artifact-store/pkg/registry"
)

type (
	tagRef struct {
		Producer string `path:"producer"`
		Name     string `path:"name"`
		Tag      string `path:"tag"`
	}
	setTag struct {
		Producer string `path:"producer"`
		Name     string `path:"name"`
		Tag      string `path:"tag"`
		Body     registry.TagSetting
	}
	getTag struct {
		Producer string `path:"producer"`
		Name     string `path:"name"`
		Tag      string `path:"tag"`
		At       uint64 `query:"at" doc:"position of the log: what it pointed to then"`
	}
	listTags struct {
		Producer string `path:"producer"`
		Name     string `path:"name"`
		At       uint64 `query:"at" doc:"position of the log: the tags as they were then"`
		After    string `query:"after" doc:"value of next in the previous page"`
		Limit    int    `query:"limit" minimum:"0" maximum:"1000" doc:"tags per page; 0 means 100"`
	}
	listTagHistory struct {
		Producer string `path:"producer"`
		Name     string `path:"name"`
		Tag      string `path:"tag"`
		Before   uint64 `query:"before" doc:"position of the log: value of next in the previous page"`
		Limit    int    `query:"limit" minimum:"0" maximum:"1000" doc:"entries per page; 0 means 100"`
	}
)

func (h *handler) registerTags(api huma.API) {
	register(h, api, operation(http.MethodGet, "/v1/tags/{producer}/{name}", "listTags", "List the tags of a package name, in the order of their bytes", "tags", 200),
		func(ctx context.Context, in *listTags) (*body[registry.TagPage], error) {
			page, err := h.registry.ListTags(ctx, registry.TagQuery{Producer: in.Producer, Name: in.Name, At: in.At, After: in.After, Limit: in.Limit})
			return &body[registry.TagPage]{page}, err
		})
	register(h, api, operation(http.MethodGet, "/v1/tags/{producer}/{name}/{tag}", "getTag", "Get the version that a tag points to", "tags", 200),
		func(ctx context.Context, in *getTag) (*body[registry.Tag], error) {
			tag, err := h.registry.GetTag(ctx, registry.TagRef{Producer: in.Producer, Name: in.Name, Tag: in.Tag}, in.At)
			return &body[registry.Tag]{tag}, err
		})
	register(h, api, operation(http.MethodPut, "/v1/tags/{producer}/{name}/{tag}", "setTag", "Point a tag to a version; the same again is no error", "tags", 200),
		func(ctx context.Context, in *setTag) (*body[registry.Tag], error) {
			tag, err := h.registry.SetTag(ctx, registry.TagRef{Producer: in.Producer, Name: in.Name, Tag: in.Tag}, in.Body)
			return &body[registry.Tag]{tag}, err
		})
	register(h, api, operation(http.MethodDelete, "/v1/tags/{producer}/{name}/{tag}", "removeTag", "Remove a tag; its history and the package stay", "tags", 204),
		func(ctx context.Context, in *tagRef) (*none, error) {
			return nil, h.registry.RemoveTag(ctx, registry.TagRef(*in))
		})
	register(h, api, operation(http.MethodGet, "/v1/tags/{producer}/{name}/{tag}/history", "listTagHistory", "List what a tag pointed to, the last first", "tags", 200),
		func(ctx context.Context, in *listTagHistory) (*body[registry.TagPage], error) {
			page, err := h.registry.ListTagHistory(ctx, registry.TagRef{Producer: in.Producer, Name: in.Name, Tag: in.Tag}, registry.HistoryQuery{Before: in.Before, Limit: in.Limit})
			return &body[registry.TagPage]{page}, err
		})
}
