// @ts-check
// The stage, in the browser. Gradio runs this file as the body of a function, once, when the component appears.
// `element` is the component's element; `props.value` is what `page/stage.py` describes; `watch` calls when it changes.
