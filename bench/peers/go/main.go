// The peer of the benchmark in Go: net/http and encoding/json, nothing else. See ../../README.md.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

type inventory struct {
	Available int `json:"available"`
	Warehouse struct {
		ID string `json:"id"`
	} `json:"warehouse"`
}

type profile struct {
	FirstName string `json:"first_name"`
	Address   struct {
		Postcode string `json:"postcode"`
	} `json:"address"`
}

type recommendations struct {
	Items json.RawMessage `json:"items"`
}

type promotions struct {
	Best struct {
		Label string `json:"label"`
	} `json:"best"`
}

type page struct {
	ID          string          `json:"id"`
	Price       json.RawMessage `json:"price"`
	Shipping    json.RawMessage `json:"shipping"`
	Available   int             `json:"available"`
	Warehouse   string          `json:"warehouse"`
	Name        string          `json:"name"`
	Postcode    string          `json:"postcode"`
	Recommended json.RawMessage `json:"recommended"`
	Promotion   string          `json:"promotion"`
}

// page is W1, and W5 with the slow services.
func (s services) page(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	var (
		price, shipping json.RawMessage
		inventory       inventory
		profile         profile
		recommendations recommendations
		promotions      promotions
	)
	err := together(r.Context(),
		func(ctx context.Context) error { return s.getJSON(ctx, &price, 0, nil, "prices", id) },
		func(ctx context.Context) error { return s.getJSON(ctx, &inventory, 1, nil, "stock", id) },
		func(ctx context.Context) error { return s.getJSON(ctx, &profile, 2, nil, "profiles", id) },
		func(ctx context.Context) error {
			return s.getJSON(ctx, &recommendations, 3, nil, "recommendations", id)
		},
		func(ctx context.Context) error { return s.getJSON(ctx, &shipping, 4, nil, "shipping", id) },
		func(ctx context.Context) error { return s.getJSON(ctx, &promotions, 5, nil, "promotions", id) },
	)
	answer(w, err, page{
		ID:          id,
		Price:       price,
		Shipping:    shipping,
		Available:   inventory.Available,
		Warehouse:   inventory.Warehouse.ID,
		Name:        profile.FirstName,
		Postcode:    profile.Address.Postcode,
		Recommended: recommendations.Items,
		Promotion:   promotions.Best.Label,
	})
}

type order struct {
	ID         string `json:"id"`
	CustomerID string `json:"customer_id"`
	ProductID  string `json:"product_id"`
	Quantity   int    `json:"quantity"`
}

type customer struct {
	Name string `json:"name"`
	Tier string `json:"tier"`
}

type offer struct {
	Order    string          `json:"order"`
	Quantity int             `json:"quantity"`
	Customer string          `json:"customer"`
	Product  json.RawMessage `json:"product"`
	Quote    json.RawMessage `json:"quote"`
}

// offer is W2.
func (s services) offer(w http.ResponseWriter, r *http.Request) {
	var (
		order          order
		customer       customer
		product, quote json.RawMessage
	)
	ctx := r.Context()
	err := s.getJSON(ctx, &order, 0, nil, "orders", r.PathValue("id"))
	if err == nil {
		err = together(ctx,
			func(ctx context.Context) error {
				return s.getJSON(ctx, &customer, 1, nil, "customers", order.CustomerID)
			},
			func(ctx context.Context) error { return s.getJSON(ctx, &product, 2, nil, "products", order.ProductID) },
		)
	}
	if err == nil {
		err = s.getJSON(ctx, &quote, 3, url.Values{"tier": {customer.Tier}}, "quotes", order.ProductID)
	}
	answer(w, err, offer{order.ID, order.Quantity, customer.Name, product, quote})
}

// document is W3.
func (s services) document(w http.ResponseWriter, r *http.Request) {
	reply, err := s.get(r.Context(), 0, nil, "document", r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	write(w, reply.status, reply.contentType, reply.body)
}

type summarized struct {
	Summary struct {
		Total json.Number `json:"total"`
	} `json:"summary"`
}

type overview struct {
	Catalogue json.RawMessage `json:"catalogue"`
	Orders    json.Number     `json:"orders"`
	Rating    json.Number     `json:"rating"`
}

// overview is W4.
func (s services) overview(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	var (
		catalogue        json.RawMessage
		history, reviews summarized
	)
	err := together(r.Context(),
		func(ctx context.Context) error { return s.getJSON(ctx, &catalogue, 0, nil, "catalogue", id) },
		func(ctx context.Context) error { return s.getJSON(ctx, &history, 1, nil, "history", id) },
		func(ctx context.Context) error { return s.getJSON(ctx, &reviews, 2, nil, "reviews", id) },
	)
	answer(w, err, overview{catalogue, history.Summary.Total, reviews.Summary.Total})
}

// answer sends value, or says that a service failed.
func answer(w http.ResponseWriter, err error, value any) {
	var buffer bytes.Buffer
	if err == nil {
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(value)
	}
	if err != nil {
		fail(w, err)
		return
	}
	write(w, http.StatusOK, "application/json", buffer.Bytes())
}

func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		write(w, http.StatusGatewayTimeout, "application/json", []byte(`{"error":"a service took too long"}`))
	} else {
		write(w, http.StatusBadGateway, "application/json", []byte(`{"error":"a service failed"}`))
	}
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // An error here is the client's going away.
}

func main() {
	first, err := strconv.Atoi(os.Getenv("SERVICES_PORT"))
	if err != nil {
		log.Fatal("SERVICES_PORT: ", err)
	}
	quick, slow := services{first}, services{first + 10}

	routes := http.NewServeMux()
	routes.HandleFunc("GET /w1/{id}", quick.page)
	routes.HandleFunc("GET /w2/{id}", quick.offer)
	routes.HandleFunc("GET /w3/{id}", quick.document)
	routes.HandleFunc("GET /w4/{id}", quick.overview)
	routes.HandleFunc("GET /w5/{id}", slow.page)
	routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusNotFound, "application/json", []byte(`{"error":"not found"}`))
	})
	server := http.Server{
		Addr:              "127.0.0.1:" + os.Getenv("PORT"),
		Handler:           routes,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       90 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
