import { approve } from "../approve.js";
import { values } from "../request.js";

approve(values, ...["iframe", "button", "video"].map((name) => document.querySelector(name)));
