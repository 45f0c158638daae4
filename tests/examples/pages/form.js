import "../form.js";
