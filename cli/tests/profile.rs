//! `tandem profile`: costs are stored, predict each other, and plans are made from them.

mod command;

use command::{Folder, digits, good, json, refused};

#[test]
fn costs_are_stored_and_plans_are_made_from_them() {
    let folder = Folder::new("profile");
    let (model, costs) = (digits("digits_int8.tflite"), folder.path("costs.json"));
    let profile = ["profile", &model, "--device", "fsim,cpu", "--hw", "edge", "-o", &costs, "--format", "json"];
    let first = json(&profile);
    let devices = first["devices"].as_array().unwrap();
    let names: Vec<&str> = devices.iter().map(|device| device["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cpu", "fsim"]);
    assert_eq!((&devices[0]["unit"], &devices[1]["unit"]), (&"s".into(), &"cycles".into()));
    assert_eq!((&devices[0]["times"], &devices[1]["times"]), (&"measured".into(), &"estimated".into()));
    // The functional simulator estimates itself without an error.
    for node in devices[1]["nodes"].as_array().unwrap() {
        assert_eq!(node["estimate"], node["measured"], "{node}");
    }
    assert_eq!(devices[1]["mean_error_of_estimates"], 0.0);
    // Once more: nodes are replaced and not added.
    let again = json(&profile);
    let count = |value: &serde_json::Value, device: usize| value["devices"][device]["nodes"].as_array().unwrap().len();
    assert_eq!((count(&first, 0), count(&first, 1)), (count(&again, 0), count(&again, 1)));

    let stored: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&costs).unwrap()).unwrap();
    let cycles = |node: &str| {
        let nodes = stored["devices"][1]["nodes"].as_array().unwrap().iter();
        nodes.filter(|other| other["node"] == node).find_map(|other| other["measured"].as_f64()).unwrap()
    };
    let plan = json(&["partition", &model, "--device", "fsim,cpu", "--costs", &costs, "--format", "json"]);
    for node in plan["nodes"].as_array().unwrap() {
        let fsim = &node["candidates"].as_array().unwrap()[1];
        if let Some(found) = fsim["cycles"].as_f64() {
            assert_eq!(found, cycles(node["node"].as_str().unwrap()), "{node}");
        }
    }
    // Stored costs are no measurement: two plans from them are the same to the last digit.
    let once_more = json(&["partition", &model, "--device", "fsim,cpu", "--costs", &costs, "--format", "json"]);
    assert_eq!(plan, once_more);
    let run = ["run", &model, "--input", &digits("inputs_i8.bin"), "--expect", &digits("expected_prob_i8_tflref.bin")];
    good(&[&run[..], &["--device", "fsim,cpu", "--hw", "edge", "--costs", &costs]].concat());
}

#[test]
fn nodes_that_are_not_stored_are_predicted_from_those_that_are() {
    let folder = Folder::new("profile-predict");
    let (model, costs) = (digits("digits_int8.tflite"), folder.path("costs.json"));
    json(&["profile", &model, "--device", "fsim,cpu", "--hw", "edge", "-o", &costs, "--format", "json"]);
    // Without the keys nothing is known of this very model.
    let text = std::fs::read_to_string(&costs).unwrap();
    let mut stored: serde_json::Value = serde_json::from_str(&text).unwrap();
    for device in stored["devices"].as_array_mut().unwrap() {
        for node in device["nodes"].as_array_mut().unwrap() {
            node["key"] = "another".into();
        }
    }
    std::fs::write(&costs, stored.to_string()).unwrap();
    let plan = json(&["partition", &model, "--device", "fsim,cpu", "--costs", &costs, "--format", "json"]);
    let placed = plan["nodes"].as_array().unwrap();
    assert!(placed.iter().all(|node| node["seconds"].as_f64() > Some(0.0)), "{plan}");
}

#[test]
fn costs_of_another_device_or_form_are_refused() {
    let folder = Folder::new("profile-refused");
    let (model, costs) = (digits("digits_int8.tflite"), folder.path("costs.json"));
    let profile =
        |hw: &'static str| ["profile", &model, "--device", "fsim", "--hw", hw, "-o", &costs].map(str::to_owned);
    good(&profile("edge").each_ref().map(String::as_str));
    refused(&profile("tiny").each_ref().map(String::as_str), &["fsim", "another configuration"]);
    refused(
        &["partition", &model, "--device", "tsim,cpu", "--costs", &costs],
        &["nothing is stored of tsim", "cpu, fsim"],
    );
    refused(&["demo", "--device", "fsim", "--costs", &costs], &["--costs", "split"]);
    let wrong = folder.file("wrong.json", "{}");
    refused(&["partition", &model, "--costs", &wrong], &["wrong.json", "tandem profile"]);
    refused(&["partition", &model, "--costs", &folder.path("absent.json")], &["absent.json"]);
    refused(&["profile", &model, "-o", &folder.path("no/costs.json")], &["no/costs.json"]);
}
