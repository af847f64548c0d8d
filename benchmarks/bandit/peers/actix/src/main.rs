//! A peer of serving.py: actix-web with two workers, simd-json and rand_distr.
//! `peer PORT POSTERIORS.csv`

use std::cell::RefCell;

use actix_web::{web, App, HttpResponse, HttpServer};
use ahash::AHashMap;
use rand::{rngs::SmallRng, SeedableRng};
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Query<'a> {
    #[serde(borrow)]
    candidates: Vec<&'a str>,
    k: Option<usize>,
}

#[derive(Serialize)]
struct Answer<'a> {
    arms: Vec<&'a str>,
    scores: Vec<f64>,
}

// Parameters, not distributions: those of a server that learns change with every reward.
type Table = AHashMap<String, (f64, f64)>;

thread_local! {
    static RANDOM: RefCell<SmallRng> = RefCell::new(SmallRng::from_os_rng());
}

fn best<'a>(table: &Table, query: &Query<'a>) -> Vec<(f64, &'a str)> {
    let mut draws: Vec<(f64, &str)> = RANDOM.with_borrow_mut(|random| {
        let draw = |arm: &&'a str| {
            let &(a, b) = table.get(*arm).unwrap_or(&(1.0, 1.0));
            (Beta::new(a, b).unwrap().sample(random), *arm)
        };
        query.candidates.iter().map(draw).collect()
    });
    let k = query.k.unwrap_or(10).min(draws.len());
    if 0 < k && k < draws.len() {
        draws.select_nth_unstable_by(k - 1, |x, y| y.0.total_cmp(&x.0));
    }
    draws.truncate(k);
    draws.sort_unstable_by(|x, y| y.0.total_cmp(&x.0));
    draws
}

async fn predict(body: web::Bytes, table: web::Data<Table>) -> HttpResponse {
    let mut bytes = body.to_vec();
    let Ok(query) = simd_json::from_slice::<Query>(&mut bytes) else {
        return HttpResponse::BadRequest().finish();
    };
    let (scores, arms) = best(&table, &query).into_iter().unzip();
    let answer = serde_json::to_vec(&Answer { arms, scores }).unwrap();
    HttpResponse::Ok()
        .content_type("application/json")
        .body(answer)
}

fn load(path: &str) -> std::io::Result<Table> {
    let text = std::fs::read_to_string(path)?;
    let rows = text.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let posterior = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
        (fields[1].to_owned(), posterior)
    });
    Ok(rows.collect())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let table = web::Data::new(load(&arguments[2])?);
    let application = move || {
        App::new()
            .app_data(table.clone())
            .app_data(web::PayloadConfig::new(1 << 24))
            .route("/health", web::get().to(|| async { "ok" }))
            .route("/predict", web::post().to(predict))
    };
    let server = HttpServer::new(application).workers(2);
    server
        .bind(("127.0.0.1", arguments[1].parse().unwrap()))?
        .run()
        .await
}
